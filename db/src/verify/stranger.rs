//! Checks that other roles cannot connect to a tenant's database, by trying.

use rand::Rng;
use stack::Secret;

use super::check::{Check, fail, pass, unknown};
use crate::quote::{ident, literal};
use crate::{ConnectOptions, Error, Login, Server, Session, TenantSpec, connect, role};

/// The prefix of the roles that are created for the check.
const STRANGER: &str = "drawbridge_stranger_";

/// Tries to connect as roles that must be refused: those of the other tenants, or else one created for the check.
pub(super) async fn strangers_stay_out(
    server: &Server,
    session: &Session,
    tenant: &TenantSpec,
    tenants: &[TenantSpec],
) -> Vec<Check> {
    let mut others: Vec<&TenantSpec> = Vec::new();
    for other in tenants {
        if other.owner != tenant.owner && others.iter().all(|seen| seen.owner != other.owner) {
            others.push(other);
        }
    }
    let mut checks = Vec::new();
    for other in others {
        let login = Login { database: tenant.name.clone(), ..other.login() };
        let tried = connect(server, &login, &ConnectOptions::default()).await;
        // A role that cannot log in anywhere proves nothing about this database; its login is checked elsewhere.
        let is_its_own = |error: &Error| matches!(error.sqlstate(), Some("28P01" | "28000"));
        if !tried.as_ref().is_err_and(is_its_own) {
            checks.push(stays_out(&login, tried).await);
        }
    }
    if checks.is_empty() {
        checks.push(made_stranger_stays_out(server, session, tenant).await);
    }
    checks
}

const REFUSED: &str = "stranger refused";

async fn stays_out(login: &Login, tried: Result<Session, Error>) -> Check {
    match tried {
        Ok(session) => {
            session.close().await;
            fail(REFUSED, format!("`{}` got in", login.user))
        }
        // The server says so after it accepted the password: only the missing privilege refused the role.
        Err(error) if error.sqlstate() == Some("42501") => {
            pass(REFUSED, format!("`{}` logged in and was refused: {}", login.user, said(&error)))
        }
        Err(error) => unknown(REFUSED, format!("`{}` could not try: {}", login.user, said(&error))),
    }
}

async fn made_stranger_stays_out(server: &Server, session: &Session, tenant: &TenantSpec) -> Check {
    if let Err(error) = drop_stale_strangers(session).await {
        return unknown(REFUSED, error.chain());
    }
    let login = Login {
        user: format!("{STRANGER}{}", random()),
        password: Secret::new(random() + &random()),
        database: tenant.name.clone(),
    };
    // If we are killed before the role is dropped, the date makes it harmless and shows that it is left over.
    let sql = format!(
        "CREATE ROLE {} LOGIN CONNECTION LIMIT 1 PASSWORD {} VALID UNTIL {}",
        ident(&login.user),
        literal(&role::verifier(&login.password)),
        match five_minutes_from_now(session).await {
            Ok(date) => literal(&date),
            Err(error) => return unknown(REFUSED, error.chain()),
        }
    );
    if let Err(error) = session.execute(&sql, || "create a stranger's role".to_owned()).await {
        return unknown(REFUSED, error.chain());
    }
    let check = stays_out(&login, connect(server, &login, &ConnectOptions::default()).await).await;
    match drop_role(session, &login.user).await {
        Ok(()) => check,
        Err(error) => fail(REFUSED, format!("{}; {}", check.evidence, error.chain())),
    }
}

async fn drop_stale_strangers(session: &Session) -> Result<(), Error> {
    let sql = format!(
        "SELECT rolname::text FROM pg_roles WHERE starts_with(rolname::text, {}) AND rolvaliduntil < now()",
        literal(STRANGER)
    );
    for row in session.query(&sql, &[], "look for strangers' roles").await? {
        drop_role(session, row.get(0)).await?;
    }
    Ok(())
}

async fn drop_role(session: &Session, name: &str) -> Result<(), Error> {
    let sql = format!("DROP ROLE IF EXISTS {}", ident(name));
    session.execute(&sql, || format!("drop role `{name}`")).await
}

async fn five_minutes_from_now(session: &Session) -> Result<String, Error> {
    let rows = session.query("SELECT (now() + interval '5 min')::text", &[], "read the clock").await?;
    Ok(rows.first().map(|row| row.get(0)).unwrap_or_default())
}

fn random() -> String {
    format!("{:016x}", rand::rng().random::<u64>())
}

fn said(error: &Error) -> String {
    error.refusal().map_or_else(|| error.chain(), |refusal| refusal.message.clone())
}
