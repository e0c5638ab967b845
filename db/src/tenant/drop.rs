//! The end of a tenant: its database, and its role if nothing else needs it.

use std::time::{Duration, Instant};

use serde::Serialize;
use stack::spec::clone_of;
use stack::{Event, Events};
use tokio_postgres::types::Type;

use super::ensure::{Membership, is_member, join, leave};
use super::list::{TenantInfo, observe};
use super::subject;
use crate::lock::{self, Lock};
use crate::quote::{self, ident};
use crate::{ConnectOptions, Error, Login, Server, Session, connect, role};

/// How long to wait for whoever works on the same tenant.
const LOCK_LIMIT: Duration = Duration::from_secs(60);

/// What there is before a tenant is dropped.
#[derive(Clone, Debug)]
pub struct Survey {
    /// The server's major version: 16.
    pub version: u32,
    /// The database, if it is there.
    pub database: Option<TenantInfo>,
    /// Who is connected to it.
    pub sessions: Vec<String>,
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
    let looked = async {
        let database = observe(&session, Some(tenant)).await?.pop();
        Ok(Survey { version: session.version(), database, sessions: sessions(&session, tenant).await? })
    };
    let looked = looked.await;
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
    quote::check_database(&what.tenant)?;
    quote::check_role(&what.owner)?;
    let (subject, start) = (subject(&what.tenant), Instant::now());
    events.emit(Event::StepStarted { subject: subject.clone(), verb: "drop".to_owned() });
    let session = enter(server, admin).await?;
    let result = drop_locked(&session, what, &subject, events).await;
    // The locks go with it.
    session.close().await;
    events.emit(match &result {
        Err(error) => Event::StepFailed { subject, error: error.chain() },
        Ok(_) => Event::StepFinished { subject, outcome: "dropped".to_owned(), elapsed: start.elapsed() },
    });
    result
}

async fn enter(server: &Server, admin: &Login) -> Result<Session, Error> {
    let login = Login { database: "postgres".to_owned(), ..admin.clone() };
    connect(server, &login, &ConnectOptions::default()).await
}

async fn drop_locked(
    session: &Session,
    what: &DropSpec,
    subject: &str,
    events: &Events,
) -> Result<Dropped, Error> {
    lock::acquire_shared(session, lock::TENANTS, subject, LOCK_LIMIT, events).await?;
    for one in [Lock::role(&what.owner), Lock::database(&what.tenant)] {
        lock::acquire(session, one, subject, LOCK_LIMIT, events).await?;
    }
    let unfit = |reason: String| Error::Unfit { tenant: what.tenant.clone(), reason };
    let database = observe(session, Some(&what.tenant)).await?.pop();
    if let Some(info) = &database {
        if info.owner != what.owner {
            return Err(unfit(format!("its database belongs to `{}`, not to `{}`", info.owner, what.owner)));
        }
        drop_database(session, what).await?;
    }
    Ok(Dropped { database: database.is_some(), role: drop_role(session, what).await? })
}

async fn drop_database(session: &Session, what: &DropSpec) -> Result<(), Error> {
    join(session, &what.owner, Membership::Inherit).await?;
    // Its sessions are its own, whomever it acts as.
    let clone = if role::has_clone(session, &what.owner).await? { Some(clone_of(&what.owner)) } else { None };
    if let Some(clone) = &clone {
        join(session, clone, Membership::Inherit).await?;
    }
    let force = if what.force { " WITH (FORCE)" } else { "" };
    let sql = format!("DROP DATABASE IF EXISTS {}{force}", ident(&what.tenant));
    let done = session.execute(&sql, || format!("drop database `{}`", what.tenant)).await;
    let mut left = leave(session, &what.owner).await;
    if let Some(clone) = &clone {
        left = leave(session, clone).await.and(left);
    }
    match done {
        // The server has waited five seconds for them to leave.
        Err(error) if error.sqlstate() == Some("55006") && !what.force => {
            let sessions = sessions(session, &what.tenant).await?;
            Err(Error::Unfit { tenant: what.tenant.clone(), reason: connected(&sessions) })
        }
        Err(error) => Err(error),
        Ok(()) => left,
    }
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

/// Returns who is connected to a database, in words.
async fn sessions(session: &Session, database: &str) -> Result<Vec<String>, Error> {
    const SQL: &str = "
        SELECT format('`%s` as `%s` (pid %s)', application_name, usename, pid)
        FROM pg_stat_activity WHERE datname = $1 AND backend_type = 'client backend' ORDER BY pid";
    let rows = session.query(SQL, &[(&database, Type::TEXT)], "see who is connected").await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Returns why a database with these sessions stays.
fn connected(sessions: &[String]) -> String {
    const NAMES: usize = 5;
    let shown = sessions.iter().take(NAMES).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = sessions.len().saturating_sub(NAMES);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("somebody is connected to its database: {shown}{more}; nothing was dropped")
}
