use std::time::{Duration, Instant};

use serde::Serialize;
use stack::{Event, Events};
use tokio_postgres::types::Type;

use super::list::{TenantInfo, observe};
use super::{TenantSpec, check};
use crate::quote::{ident, literal};
use crate::role::{self, PasswordCheck};
use crate::{ConnectOptions, Error, Login, Server, Session, connect, lock};

/// How long to wait for another creation to end.
const LOCK_LIMIT: Duration = Duration::from_secs(60);

/// What became of a tenant.
#[derive(Debug, Serialize)]
pub struct Created {
    /// The tenant.
    pub tenant: String,
    /// What was done.
    pub outcome: Outcome,
    /// What is not as it should be and was left alone: another owner, another encoding.
    pub findings: Vec<String>,
}

/// What was done for a tenant.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", content = "what", rename_all = "kebab-case")]
pub enum Outcome {
    /// Its database is new.
    Created,
    /// Everything was there; nothing was written.
    Unchanged,
    /// Its database was there; these were put right.
    Repaired(Vec<String>),
    /// It failed; the other tenants went on.
    Failed(Error),
}

/// Creates every tenant's role and database, or puts right what is there already.
///
/// `admin` is the master: not a superuser, but with CREATEDB and CREATEROLE. One creation at a time runs on a
/// server; a failed tenant does not stop the others.
///
/// # Errors
/// What concerns all tenants: a wrong set of them, no connection, the lock.
pub async fn create(
    server: &Server,
    admin: &Login,
    tenants: &[TenantSpec],
    events: &Events,
) -> Result<Vec<Created>, Error> {
    check(tenants, admin)?;
    // Advisory locks belong to a database: all must take it in the same one.
    let login = Login { database: "postgres".to_owned(), ..admin.clone() };
    let mut session = connect(server, &login, &ConnectOptions::default()).await?;
    lock::acquire(&session, lock::TENANTS, "tenants", LOCK_LIMIT, events).await?;

    let mut created = Vec::with_capacity(tenants.len());
    for tenant in tenants {
        created.push(create_one(server, &mut session, tenant, events).await);
    }
    lock::release(&session, lock::TENANTS).await?;
    session.close().await;
    Ok(created)
}

async fn create_one(server: &Server, session: &mut Session, tenant: &TenantSpec, events: &Events) -> Created {
    let subject = format!("tenant {}", tenant.name);
    let start = Instant::now();
    events.emit(Event::StepStarted { subject: subject.clone(), verb: "create".to_owned() });
    let mut work = Work { changes: Vec::new(), findings: Vec::new(), is_new: false };
    let outcome = match ensure(server, session, tenant, &mut work).await {
        Err(error) => Outcome::Failed(error),
        Ok(()) if work.is_new => Outcome::Created,
        Ok(()) if work.changes.is_empty() => Outcome::Unchanged,
        Ok(()) => Outcome::Repaired(work.changes),
    };
    events.emit(match &outcome {
        Outcome::Failed(error) => Event::StepFailed { subject, error: error.chain() },
        Outcome::Created => finished(subject, "created", start),
        Outcome::Unchanged => finished(subject, "unchanged", start),
        Outcome::Repaired(what) => finished(subject, &format!("repaired: {}", what.join(", ")), start),
    });
    for finding in &work.findings {
        events.warn(format!("tenant `{}`: {finding}", tenant.name));
    }
    Created { tenant: tenant.name.clone(), outcome, findings: work.findings }
}

fn finished(subject: String, outcome: &str, start: Instant) -> Event {
    Event::StepFinished { subject, outcome: outcome.to_owned(), elapsed: start.elapsed() }
}

struct Work {
    changes: Vec<String>,
    findings: Vec<String>,
    is_new: bool,
}

async fn ensure(
    server: &Server,
    session: &mut Session,
    tenant: &TenantSpec,
    work: &mut Work,
) -> Result<(), Error> {
    ensure_role(server, session, tenant, work).await?;
    let found = observe(session, Some(&tenant.name)).await?.pop();
    // One that a run left behind when it was killed is taken back as well.
    let was_member = is_member(session, &tenant.owner).await?;
    let owned = found.as_ref().is_none_or(|info| info.owner == tenant.owner);
    let needs_owner = owned && found.as_ref().is_none_or(|info| !owners_duties(tenant, info).is_empty());

    if needs_owner {
        join(session, &tenant.owner).await?;
    }
    let done = if needs_owner {
        ensure_database(session, tenant, found, work).await
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
    if found.is_none() && role::create(session, &tenant.owner, &tenant.password).await? {
        work.changes.push(format!("role `{}` created", tenant.owner));
        return Ok(());
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
    // A login first: what needs no repair is not written, and its verifier stays as it is.
    if role::check_password(server, &login, &options).await? == PasswordCheck::Wrong {
        role::set_password(session, &tenant.owner, &tenant.password).await?;
        if role::check_password(server, &login, &options).await? == PasswordCheck::Wrong {
            return Err(Error::Spec {
                tenant: tenant.name.clone(),
                reason: format!("role `{}` cannot log in with the password just set", tenant.owner),
            });
        }
        work.changes.push(format!("password of role `{}` set", tenant.owner));
    }
    Ok(())
}

/// Creates the database if it is missing, and does what only its owner may do. The session must be a member.
async fn ensure_database(
    session: &mut Session,
    tenant: &TenantSpec,
    found: Option<TenantInfo>,
    work: &mut Work,
) -> Result<(), Error> {
    let info = match found {
        Some(info) => info,
        None => {
            work.is_new = create_database(session, tenant).await?;
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
    let failed = |error: tokio_postgres::Error| Error::Statement {
        doing: format!("close `{name}` to others"),
        source: error.into(),
    };
    let transaction = session.client_mut().transaction().await.map_err(failed)?;
    transaction.batch_execute(&format!("SET LOCAL ROLE {}", ident(&tenant.owner))).await.map_err(failed)?;
    for duty in &duties {
        transaction.batch_execute(&duty.sql).await.map_err(failed)?;
    }
    transaction.commit().await.map_err(failed)?;
    if !work.is_new {
        work.changes.extend(duties.into_iter().map(|duty| duty.text.to_owned()));
    }
    Ok(())
}

/// Creates the database; `false` if somebody else was quicker.
async fn create_database(session: &Session, tenant: &TenantSpec) -> Result<bool, Error> {
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
    match session.execute(&sql, || format!("create database `{}`", tenant.name)).await {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.sqlstate(), Some("42P04" | "23505")) => Ok(false),
        Err(error) => Err(error),
    }
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
async fn is_member(session: &Session, role: &str) -> Result<bool, Error> {
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

/// Makes the master a member of the role, which it must be to create a database for it.
async fn join(session: &Session, role: &str) -> Result<(), Error> {
    let how = if session.version() >= 16 { " WITH SET TRUE, INHERIT FALSE" } else { "" };
    let sql = format!("GRANT {} TO CURRENT_USER{how}", ident(role));
    session.execute(&sql, || format!("become a member of role `{role}`")).await
}

async fn leave(session: &Session, role: &str) -> Result<(), Error> {
    let sql = format!("REVOKE {} FROM CURRENT_USER", ident(role));
    session.execute(&sql, || format!("leave role `{role}`")).await
}
