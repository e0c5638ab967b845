//! The end of a tenant: its database, and its role if nothing else needs it.

use std::time::{Duration, Instant};

use serde::Serialize;
use stack::spec::clone_of;
use stack::{Event, Events};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::ensure::{Membership, is_member, join, leave};
use super::list::{TenantInfo, observe};
use super::subject;
use crate::lock::{self, FIRST_PAUSE, LOCK_LIMIT, LONGEST_PAUSE, Lock};
use crate::quote::{self, ident};
use crate::session::is_ours;
use crate::{ConnectOptions, Error, Login, SILENCE_LIMIT, Server, Session, connect, role};

/// What a dump's session is called. It is taken under the tenant's locks: whoever has them and sees another knows that its
/// program is gone. pg_dump takes the server's limits on silence back, so that the server itself never ends one.
pub const DUMP_NAME: &str = "drawbridge dump";
/// How long sessions of our own are waited for: the server ends those of programs that were killed.
const OWN_SESSIONS_LIMIT: Duration = SILENCE_LIMIT.saturating_add(Duration::from_secs(15));
/// How long a session that is to end may take for it.
const END_LIMIT: Duration = Duration::from_secs(10);

/// What there is before a tenant is dropped.
#[derive(Clone, Debug)]
pub struct Survey {
    /// The server's major version: 16.
    pub version: u32,
    /// The database, if it is there.
    pub database: Option<TenantInfo>,
    /// Who is connected to it, and will not leave by itself.
    pub sessions: Vec<String>,
    /// Sessions of our own programs. They leave when their work is done, or are ended by the server.
    pub own_sessions: Vec<String>,
}

impl Survey {
    /// Refuses a database that somebody is connected to.
    ///
    /// # Errors
    /// [`Error::Unfit`] names them.
    pub fn check_unused(&self, tenant: &str) -> Result<(), Error> {
        if self.sessions.is_empty() {
            return Ok(());
        }
        Err(Error::Unfit { tenant: tenant.to_owned(), reason: connected(&self.sessions) })
    }
}

/// What is to be dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropSpec {
    /// The database.
    pub tenant: String,
    /// The role that owns it.
    pub owner: String,
    /// Other tenants that have the role, so that it stays.
    pub shared_with: Vec<String>,
    /// Whether those who are connected lose their connections.
    pub force: bool,
}

/// What became of a tenant that was dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dropped {
    /// Whether there was a database to drop.
    pub database: bool,
    /// What became of its role.
    pub role: RoleEnd,
}

/// What became of the role of a tenant that was dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum RoleEnd {
    /// It is gone.
    Dropped,
    /// There was none.
    Absent,
    /// Something else needs it.
    Kept {
        /// What.
        reason: String,
    },
}

/// Returns what there is of a tenant, and who is connected to it. Changes nothing.
///
/// # Errors
/// Those of [`connect`], and [`Error::Statement`].
pub async fn survey(server: &Server, admin: &Login, tenant: &str) -> Result<Survey, Error> {
    let session = enter(server, admin).await?;
    let looked = look(&session, tenant).await;
    session.close().await;
    looked
}

/// Drops a tenant's database, then its role, unless something else needs that. What is gone already counts as dropped.
///
/// # Errors
/// [`Error::Unfit`] if somebody is connected and `force` is not set, or the database belongs to another role; nothing is
/// dropped then.
pub async fn drop(
    server: &Server,
    admin: &Login,
    what: &DropSpec,
    events: &Events,
) -> Result<Dropped, Error> {
    let claim = claim(server, admin, what, events).await?;
    let dropped = claim.carry_out().await;
    claim.close().await;
    dropped
}

/// A tenant that is about to be dropped. Nobody else creates, drops or dumps it meanwhile.
#[derive(Debug)]
pub struct Claim<'a> {
    session: Session,
    what: &'a DropSpec,
    events: &'a Events,
}

/// Takes the locks of a tenant, and ends what a drop that was killed has left of its dump.
///
/// # Errors
/// [`Error::Locked`] if somebody else works on it; [`Error::Name`] for names that nobody can have.
pub async fn claim<'a>(
    server: &Server,
    admin: &Login,
    what: &'a DropSpec,
    events: &'a Events,
) -> Result<Claim<'a>, Error> {
    quote::check_database(&what.tenant)?;
    quote::check_role(&what.owner)?;
    let claim = Claim { session: enter(server, admin).await?, what, events };
    match claim.enter().await {
        Ok(()) => Ok(claim),
        Err(error) => {
            claim.close().await;
            Err(error)
        }
    }
}

impl Claim<'_> {
    async fn enter(&self) -> Result<(), Error> {
        let Claim { session, what, events } = self;
        let subject = subject(&what.tenant);
        for one in [Lock::role(&what.owner), Lock::database(&what.tenant)] {
            lock::acquire(session, one, &subject, LOCK_LIMIT, events).await?;
        }
        self.end_dumps().await
    }

    /// Returns what there is. Sessions of our own programs are waited for, unless they are to lose their connections.
    ///
    /// # Errors
    /// [`Error::Statement`] if the server does not answer.
    pub async fn survey(&self) -> Result<Survey, Error> {
        let (start, mut pause) = (Instant::now(), FIRST_PAUSE);
        let mut is_told = false;
        loop {
            let mut seen = look(&self.session, &self.what.tenant).await?;
            if self.what.force || seen.own_sessions.is_empty() || !seen.sessions.is_empty() {
                return Ok(seen);
            }
            let waited = start.elapsed();
            if waited >= OWN_SESSIONS_LIMIT {
                seen.sessions.append(&mut seen.own_sessions);
                return Ok(seen);
            }
            if waited >= LONGEST_PAUSE && !is_told {
                is_told = true;
                self.events.note(format!(
                    "{}: waiting for {}; if its program is gone, the server ends it within {} s",
                    subject(&self.what.tenant),
                    named(&seen.own_sessions),
                    SILENCE_LIMIT.as_secs()
                ));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Drops it, as [`drop`] does.
    ///
    /// # Errors
    /// Those of [`drop`]; [`Error::Statement`] if the session, and with it the locks, was lost.
    pub async fn carry_out(&self) -> Result<Dropped, Error> {
        let (subject, start) = (subject(&self.what.tenant), Instant::now());
        self.events.emit(Event::StepStarted { subject: subject.clone(), verb: "drop".to_owned() });
        let result = self.drop_all().await;
        self.events.emit(match &result {
            Err(error) => Event::StepFailed { subject, error: error.chain() },
            Ok(_) => Event::StepFinished { subject, outcome: "dropped".to_owned(), elapsed: start.elapsed() },
        });
        result
    }

    /// Gives the locks back.
    pub async fn close(self) {
        self.session.close().await;
    }

    async fn drop_all(&self) -> Result<Dropped, Error> {
        let Claim { session, what, events } = self;
        // Not before the dump: passwords may be rotated as long as that takes.
        lock::acquire_shared(session, lock::TENANTS, &subject(&what.tenant), LOCK_LIMIT, events).await?;
        let unfit = |reason: String| Error::Unfit { tenant: what.tenant.clone(), reason };
        let database = observe(session, Some(&what.tenant)).await?.pop();
        if let Some(info) = &database {
            if info.owner != what.owner {
                return Err(unfit(format!(
                    "its database belongs to `{}`, not to `{}`",
                    info.owner, what.owner
                )));
            }
            drop_database(session, what).await?;
        }
        Ok(Dropped { database: database.is_some(), role: drop_role(session, what).await? })
    }

    /// Ends the sessions of dumps whose program is gone: a live one's would have the locks.
    async fn end_dumps(&self) -> Result<(), Error> {
        let Claim { session, what, events } = self;
        let start = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let left = dumps(session, what).await?;
            if left.is_empty() {
                return Ok(());
            }
            let tenant = what.tenant.clone();
            if start.elapsed() >= END_LIMIT {
                return Err(Error::Unfit { tenant, reason: connected(&left) });
            }
            if pause == FIRST_PAUSE {
                let text = format!("ends {}, which a drop that was cut off has left", named(&left));
                events.note(format!("{}: {text}", subject(&tenant)));
                with_rights(session, &what.owner, async || dumps_end(session, what).await).await?;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

async fn enter(server: &Server, admin: &Login) -> Result<Session, Error> {
    let login = Login { database: "postgres".to_owned(), ..admin.clone() };
    connect(server, &login, &ConnectOptions::default()).await
}

async fn look(session: &Session, tenant: &str) -> Result<Survey, Error> {
    let database = observe(session, Some(tenant)).await?.pop();
    let (own, sessions): (Vec<_>, Vec<_>) =
        sessions(session, tenant).await?.into_iter().partition(|(is_own, _)| *is_own);
    let text = |all: Vec<(bool, String)>| all.into_iter().map(|(_, text)| text).collect();
    Ok(Survey { version: session.version(), database, sessions: text(sessions), own_sessions: text(own) })
}

async fn drop_database(session: &Session, what: &DropSpec) -> Result<(), Error> {
    let force = if what.force { " WITH (FORCE)" } else { "" };
    let sql = format!("DROP DATABASE IF EXISTS {}{force}", ident(&what.tenant));
    let work = async || session.execute(&sql, || format!("drop database `{}`", what.tenant)).await;
    match with_rights(session, &what.owner, work).await {
        // The server has waited five seconds for them to leave.
        Err(error) if error.sqlstate() == Some("55006") && !what.force => {
            let sessions = sessions(session, &what.tenant).await?;
            let sessions: Vec<String> = sessions.into_iter().map(|(_, text)| text).collect();
            Err(Error::Unfit { tenant: what.tenant.clone(), reason: connected(&sessions) })
        }
        result => result,
    }
}

/// Does the work while the master has the rights of a role, and those of its second user, whose sessions are its own, whomever
/// it acts as.
async fn with_rights(
    session: &Session,
    owner: &str,
    work: impl AsyncFnOnce() -> Result<(), Error>,
) -> Result<(), Error> {
    join(session, owner, Membership::Inherit).await?;
    let clone = if role::has_clone(session, owner).await? { Some(clone_of(owner)) } else { None };
    if let Some(clone) = &clone {
        join(session, clone, Membership::Inherit).await?;
    }
    let done = work().await;
    let mut left = leave(session, owner).await;
    if let Some(clone) = &clone {
        left = leave(session, clone).await.and(left);
    }
    // Why the work failed matters more.
    done.and(left)
}

async fn drop_role(session: &Session, what: &DropSpec) -> Result<RoleEnd, Error> {
    if role::find(session, &what.owner).await?.is_none() {
        return Ok(RoleEnd::Absent);
    }
    // Of a run that was cut off.
    if is_member(session, &what.owner).await? {
        leave(session, &what.owner).await?;
    }
    let mut others = what.shared_with.clone();
    let rows = session
        .query(
            "SELECT datname::text FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba WHERE r.rolname = $1",
            &[(&what.owner, Type::TEXT)],
            "see what else the role owns",
        )
        .await?;
    others.extend(rows.iter().map(|row| row.get(0)));
    others.sort();
    others.dedup();
    if !others.is_empty() {
        return Ok(RoleEnd::Kept { reason: format!("it owns {} as well", others.join(", ")) });
    }
    // The second user goes with the first, and comes back with it should that stay: both or none.
    let clone = match role::has_clone(session, &what.owner).await? {
        true => format!("DROP ROLE {}; ", ident(&clone_of(&what.owner))),
        false => String::new(),
    };
    let sql = format!("{clone}DROP ROLE {}", ident(&what.owner));
    match session.execute(&sql, || format!("drop role `{}`", what.owner)).await {
        Ok(()) => Ok(RoleEnd::Dropped),
        // Objects or grants in other databases, which are not ours to take away.
        Err(error) if error.sqlstate() == Some("2BP01") => {
            let detail = error.refusal().and_then(|refusal| refusal.detail.clone()).unwrap_or_default();
            Ok(RoleEnd::Kept { reason: format!("other databases know it: {}", detail.replace('\n', "; ")) })
        }
        Err(error) => Err(error),
    }
}

/// Returns who is connected to a database, in words, and whether it is one of our own.
async fn sessions(session: &Session, database: &str) -> Result<Vec<(bool, String)>, Error> {
    const SQL: &str = "
        SELECT coalesce(application_name, ''), format('`%s` as `%s` (pid %s)', application_name, usename, pid)
        FROM pg_stat_activity WHERE datname = $1 AND backend_type = 'client backend' ORDER BY pid";
    let rows = session.query(SQL, &[(&database, Type::TEXT)], "see who is connected").await?;
    Ok(rows.iter().map(|row| (is_ours(row.get(0)), row.get(1))).collect())
}

/// The sessions of dumps of a database, by its owner or that one's second user.
const DUMPS: &str = "
    FROM pg_stat_activity
    WHERE datname = $1 AND application_name = $2 AND usename = ANY ($3) AND backend_type = 'client backend'";

async fn dumps(session: &Session, what: &DropSpec) -> Result<Vec<String>, Error> {
    let select = "SELECT format('`%s` as `%s` (pid %s)', application_name, usename, pid)";
    let rows = of_dumps(session, what, select, "see who is connected").await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn dumps_end(session: &Session, what: &DropSpec) -> Result<(), Error> {
    of_dumps(session, what, "SELECT pg_terminate_backend(pid)", "end the sessions of a dump")
        .await
        .map(std::mem::drop)
}

async fn of_dumps(session: &Session, what: &DropSpec, select: &str, doing: &str) -> Result<Vec<Row>, Error> {
    let (database, users) = (what.tenant.as_str(), vec![what.owner.clone(), clone_of(&what.owner)]);
    let values: [(&(dyn ToSql + Sync), Type); 3] =
        [(&database, Type::TEXT), (&DUMP_NAME, Type::TEXT), (&users, Type::TEXT_ARRAY)];
    session.query(&format!("{select} {DUMPS}"), &values, doing).await
}

/// Returns why a database with these sessions stays.
fn connected(sessions: &[String]) -> String {
    format!("somebody is connected to its database: {}; nothing was dropped", named(sessions))
}

/// Returns the first of them, and how many more there are.
fn named(sessions: &[String]) -> String {
    const NAMES: usize = 5;
    let shown = sessions.iter().take(NAMES).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = sessions.len().saturating_sub(NAMES);
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}
