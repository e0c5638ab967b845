//! What a tenant is made of, and what is put right.

use std::time::Duration;

use stack::{Event, Events};
use tokio_postgres::types::Type;

use super::list::{TenantInfo, observe};
use super::{TenantSpec, subject};
use crate::quote::{ident, literal};
use crate::role::{self, PasswordCheck};
use crate::{ConnectOptions, Error, Server, Session};

/// How often a database is tried to be created while its template is in use, and the first pause; each is twice as long.
const TEMPLATE_ATTEMPTS: u32 = 4;
const TEMPLATE_PAUSE: Duration = Duration::from_millis(500);

/// What was done so far.
#[derive(Default)]
pub(super) struct Work {
    pub(super) changes: Vec<String>,
    pub(super) findings: Vec<String>,
    pub(super) is_new: bool,
}

/// Puts a tenant right. The session holds the locks of its role and its database.
pub(super) async fn ensure(
    server: &Server,
    events: &Events,
    session: &Session,
    tenant: &TenantSpec,
    work: &mut Work,
) -> Result<(), Error> {
    // First of all: nobody can log in to what is half dropped.
    let found = observe(session, Some(&tenant.name)).await?.pop();
    if found.as_ref().is_some_and(|info| info.is_half_dropped) {
        let reason = format!(
            "its database was being dropped when that was cut off, and takes no connection any more; run \
             `cargo xtask tenant drop {0}`, which ends that, and `cargo xtask tenant create {0}` again",
            tenant.name
        );
        return Err(Error::Unfit { tenant: tenant.name.clone(), reason });
    }
    ensure_role(server, session, tenant, work).await?;
    // One that a run left behind when it was killed is taken back as well.
    let was_member = is_member(session, &tenant.owner).await?;
    let owned = found.as_ref().is_none_or(|info| info.owner == tenant.owner);
    let needs_owner = owned && found.as_ref().is_none_or(|info| !owners_duties(tenant, info).is_empty());

    if needs_owner {
        join(session, &tenant.owner, Membership::Set).await?;
    }
    let done = if needs_owner {
        ensure_database(events, session, tenant, found, work).await
    } else {
        work.findings.extend(found.iter().flat_map(|info| differences(tenant, info)));
        Ok(())
    };
    if needs_owner || was_member {
        let left = leave(session, &tenant.owner).await;
        // Why the work failed matters more than that the membership stayed; the next run takes it back.
        done?;
        left?;
        if was_member {
            work.changes.push(format!("master no longer member of `{}`", tenant.owner));
        }
        return Ok(());
    }
    done
}

async fn ensure_role(
    server: &Server,
    session: &Session,
    tenant: &TenantSpec,
    work: &mut Work,
) -> Result<(), Error> {
    let found = role::find(session, &tenant.owner).await?;
    let is_own = tenant.user == tenant.owner;
    if found.is_none() && role::create(session, &tenant.owner, is_own.then_some(&tenant.password)).await? {
        work.changes.push(format!("role `{}` created", tenant.owner));
        if is_own {
            return Ok(());
        }
    }
    let found = match found {
        Some(found) => found,
        None => role::find(session, &tenant.owner).await?.ok_or_else(|| Error::Spec {
            tenant: tenant.name.clone(),
            reason: format!("role `{}` comes and goes", tenant.owner),
        })?,
    };
    work.changes.extend(role::repair(session, &tenant.owner, &found).await?);
    work.findings.extend(found.excess().into_iter().map(|what| format!("role `{}`: {what}", tenant.owner)));

    let options = ConnectOptions::default();
    let login = tenant.login();
    // A login first: what needs no repair is not written, and its verifier stays as it is. One of MD5 does.
    let is_whole = is_own || role::has_clone(session, &tenant.owner).await?;
    if !is_whole || role::check_password(server, &login, &options).await? != PasswordCheck::Right {
        match is_own {
            true => role::set_password(session, &tenant.owner, &tenant.password).await?,
            false => role::ensure_clone(session, &tenant.owner, &tenant.password).await?,
        }
        let reason = match role::check_password(server, &login, &options).await? {
            PasswordCheck::Right => None,
            PasswordCheck::Wrong => Some("cannot log in with the password just set"),
            PasswordCheck::Unproved => Some("need not prove the password: see `pg_hba.conf` of the server"),
        };
        if let Some(reason) = reason {
            let reason = format!("role `{}` {reason}", tenant.user);
            return Err(Error::Spec { tenant: tenant.name.clone(), reason });
        }
        work.changes.push(format!("password of role `{}` set", tenant.user));
    }
    Ok(())
}

/// Creates the database if it is missing, and does what only its owner may do. The session must be a member.
async fn ensure_database(
    events: &Events,
    session: &Session,
    tenant: &TenantSpec,
    found: Option<TenantInfo>,
    work: &mut Work,
) -> Result<(), Error> {
    let info = match found {
        Some(info) => info,
        None => {
            work.is_new = create_database(events, session, tenant).await?;
            observe(session, Some(&tenant.name)).await?.pop().ok_or_else(|| Error::Spec {
                tenant: tenant.name.clone(),
                reason: "its database was dropped while it was created".to_owned(),
            })?
        }
    };
    work.findings.extend(differences(tenant, &info));
    if info.owner != tenant.owner {
        return Ok(());
    }
    let duties = owners_duties(tenant, &info);
    if duties.is_empty() {
        return Ok(());
    }
    let name = &tenant.name;
    let mut sql = format!("SET LOCAL ROLE {}", ident(&tenant.owner));
    for duty in &duties {
        sql.push_str("; ");
        sql.push_str(&duty.sql);
    }
    // One message is one transaction.
    session.execute(&sql, || format!("close `{name}` to others")).await?;
    if !work.is_new {
        work.changes.extend(duties.into_iter().map(|duty| duty.text.to_owned()));
    }
    Ok(())
}

/// Creates the database; `false` if somebody else was quicker.
async fn create_database(events: &Events, session: &Session, tenant: &TenantSpec) -> Result<bool, Error> {
    let mut sql = format!(
        "CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING {} LC_COLLATE {locale} LC_CTYPE {locale}",
        ident(&tenant.name),
        ident(&tenant.owner),
        literal(&tenant.encoding),
        locale = literal(&tenant.locale),
    );
    if session.version() >= 15 {
        // A file copy would force two checkpoints on every tenant of the server.
        sql.push_str(" STRATEGY wal_log LOCALE_PROVIDER libc");
    }
    let mut pause = TEMPLATE_PAUSE;
    for attempt in 1.. {
        let error = match session.execute(&sql, || format!("create database `{}`", tenant.name)).await {
            Ok(()) => return Ok(true),
            Err(error) => error,
        };
        match error.sqlstate() {
            Some("42P04" | "23505") => return Ok(false),
            // Somebody looks at the template, after the five seconds that the server waits itself.
            Some("55006") if attempt < TEMPLATE_ATTEMPTS => {
                let status = format!("attempt {} of {TEMPLATE_ATTEMPTS}: {}", attempt + 1, error.chain());
                events.emit(Event::StepWaiting { subject: subject(&tenant.name), status });
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            Some(_) | None => return Err(error),
        }
    }
    unreachable!("invariant: the last attempt returns")
}

struct Duty {
    sql: String,
    text: &'static str,
}

/// Returns what only the owner may put right.
fn owners_duties(tenant: &TenantSpec, info: &TenantInfo) -> Vec<Duty> {
    let database = ident(&tenant.name);
    let mut duties = Vec::new();
    if info.public_can_connect || info.public_can_create_temporary {
        let sql = format!("REVOKE CONNECT, TEMPORARY ON DATABASE {database} FROM PUBLIC");
        duties.push(Duty { sql, text: "CONNECT and TEMPORARY revoked from PUBLIC" });
    }
    if !tenant.purpose.is_empty() && info.purpose.as_deref() != Some(&tenant.purpose) {
        let sql = format!("COMMENT ON DATABASE {database} IS {}", literal(&tenant.purpose));
        duties.push(Duty { sql, text: "purpose set" });
    }
    duties
}

/// Returns what differs and cannot be put right without touching data.
fn differences(tenant: &TenantSpec, info: &TenantInfo) -> Vec<String> {
    [
        ("owner", &info.owner, &tenant.owner),
        ("encoding", &info.encoding, &tenant.encoding),
        ("collation", &info.collation, &tenant.locale),
        ("character type", &info.ctype, &tenant.locale),
    ]
    .into_iter()
    .filter(|(_, is, should)| is != should)
    .map(|(what, is, should)| format!("the {what} is `{is}`, not `{should}`"))
    .collect()
}

/// Returns whether the master made itself a member of the role, as [`join`] does.
pub(super) async fn is_member(session: &Session, role: &str) -> Result<bool, Error> {
    // Since 16, whoever creates a role is its member with ADMIN alone, granted by the server's owner: that stays.
    let what = if session.version() >= 16 { "AND (m.set_option OR m.inherit_option)" } else { "" };
    let sql = format!(
        "SELECT EXISTS (SELECT FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid
            JOIN pg_roles me ON me.oid = m.member AND me.oid = m.grantor
            WHERE r.rolname = $1 AND me.rolname = current_user {what})"
    );
    let rows = session.query(&sql, &[(&role, Type::TEXT)], "look at the memberships").await?;
    Ok(rows.first().is_some_and(|row| row.get(0)))
}

/// What the master becomes a member of a role for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Membership {
    /// To create a database for it, and to act as it.
    Set,
    /// To do with what it owns as if it were the master's.
    Inherit,
}

/// Makes the master a member of the role, until it is left again.
pub(super) async fn join(session: &Session, role: &str, membership: Membership) -> Result<(), Error> {
    let how = match membership {
        _ if session.version() < 16 => "",
        Membership::Set => " WITH SET TRUE, INHERIT FALSE",
        Membership::Inherit => " WITH SET FALSE, INHERIT TRUE",
    };
    let sql = format!("GRANT {} TO CURRENT_USER{how}", ident(role));
    session.execute(&sql, || format!("become a member of role `{role}`")).await
}

pub(super) async fn leave(session: &Session, role: &str) -> Result<(), Error> {
    let sql = format!("REVOKE {} FROM CURRENT_USER", ident(role));
    session.execute(&sql, || format!("leave role `{role}`")).await
}
