//! Proof that a tenant is what it should be, by looking and by trying.

use std::error::Error as _;
use std::fmt;

use rand::Rng;
use serde::Serialize;
use stack::Secret;
use stack::spec::Tenant;
use tokio_postgres::NoTls;
use tokio_postgres::config::{Config, SslMode};

use crate::maintenance::{self, Grounds};
use crate::quote::{self, ident, literal};
use crate::tenant::{self, TenantInfo, TenantSpec, check, look_inside, observe};
use crate::{AUTH, ConnectOptions, Error, Login, SearchPath, Server, Session, Tls, connect, migrate, role};

/// What was proved about one tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// The tenant.
    pub tenant: String,
    /// Every check, in the order in which it was made.
    pub checks: Vec<Check>,
}

impl Verification {
    /// Returns the worst verdict: a failure, else something unknown, else a pass.
    pub fn verdict(&self) -> Verdict {
        self.checks.iter().map(|check| check.verdict).max().unwrap_or(Verdict::Unknown)
    }
}

/// One thing that was looked at or tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What must hold: `owner`, `encoding`, `stranger refused`.
    pub name: &'static str,
    /// Whether it holds.
    pub verdict: Verdict,
    /// What was seen.
    pub evidence: String,
}

/// Whether something holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It holds, and the evidence shows it.
    Pass,
    /// It could not be seen or tried.
    Unknown,
    /// It does not hold.
    Fail,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Pass => "pass",
            Verdict::Unknown => "unknown",
            Verdict::Fail => "fail",
        })
    }
}

/// The prefix of the roles that try to get in where they must not.
const STRANGER: &str = "drawbridge_stranger_";

/// Looks at every tenant and tries what must work and what must not.
///
/// Nothing is changed, but for a stranger's role that is created where no other tenant's role can play the
/// stranger, and dropped again.
///
/// # Errors
/// What concerns all tenants: a wrong set of them, no connection as `admin`.
pub async fn verify(
    server: &Server,
    admin: &Login,
    tenants: &[TenantSpec],
) -> Result<Vec<Verification>, Error> {
    check(tenants, admin)?;
    let login = Login { database: "postgres".to_owned(), ..admin.clone() };
    let session = connect(server, &login, &ConnectOptions::default()).await?;
    let grounds = closed_to_tenants(maintenance::look(server, admin, &session).await);
    let mut verifications = Vec::with_capacity(tenants.len());
    for tenant in tenants {
        let verification = match verify_one(server, &session, tenant, tenants).await {
            Ok(mut verification) => {
                verification.checks.push(grounds.clone());
                verification
            }
            // Without the session nobody else can be looked at either.
            Err(error) if session.client().is_closed() => return Err(error),
            Err(error) => Verification {
                tenant: tenant.name.clone(),
                checks: vec![unknown("the server's answer", error.chain())],
            },
        };
        verifications.push(verification);
    }
    session.close().await;
    Ok(verifications)
}

/// Returns whether tenants are kept out of the server's own databases.
fn closed_to_tenants(seen: Result<Grounds, Error>) -> Check {
    const NAME: &str = "server's own databases closed to PUBLIC";
    match seen {
        Err(error) => unknown(NAME, error.chain()),
        Ok(grounds) if grounds.openings.is_empty() => {
            pass(NAME, "PUBLIC may neither connect to `postgres` and `template1` nor create in them")
        }
        Ok(grounds) => {
            let all = grounds.openings.iter().map(|one| format!("{one}; {}", one.mend()));
            fail(NAME, all.collect::<Vec<_>>().join("; "))
        }
    }
}

async fn verify_one(
    server: &Server,
    session: &Session,
    tenant: &TenantSpec,
    tenants: &[TenantSpec],
) -> Result<Verification, Error> {
    let mut checks = Vec::new();
    match observe(session, Some(&tenant.name)).await?.pop() {
        None => checks.push(fail("exists", "there is no such database")),
        Some(info) => {
            checks.extend(settings(&tenant.owner, &tenant.encoding, &tenant.locale, &info));
        }
    }
    checks.push(owner_is_modest(session, tenant).await?);
    let seen = logs_in(server, tenant).await;
    let reachable = seen[0].verdict == Verdict::Pass;
    checks.extend(seen);
    checks.extend(strangers_stay_out(server, session, tenant, tenants).await);
    checks.push(plain_is_refused(server, tenant, reachable).await);
    checks.push(wrong_name_is_refused(server, tenant, reachable).await);
    Ok(Verification { tenant: tenant.name.clone(), checks })
}

/// Returns where a tenant's database is not as configured: owner, encoding, locale, and who may connect.
pub fn differences(tenant: &Tenant, info: &TenantInfo) -> Vec<Check> {
    let mut checks = settings(&tenant.owner, &tenant.encoding, &tenant.locale, info);
    checks.retain(|check| check.verdict != Verdict::Pass);
    checks
}

fn settings(owner: &str, encoding: &str, locale: &str, info: &TenantInfo) -> Vec<Check> {
    let equal = |name, is: &str, should: &str| {
        if is == should {
            pass(name, format!("`{is}`"))
        } else {
            fail(name, format!("`{is}`, not `{should}`"))
        }
    };
    let public = match (info.public_can_connect, info.public_can_create_temporary) {
        (false, false) => pass("closed to PUBLIC", "PUBLIC has neither CONNECT nor TEMPORARY"),
        (true, _) => fail("closed to PUBLIC", format!("PUBLIC has CONNECT; {}", mend(&info.name))),
        (false, true) => fail("closed to PUBLIC", format!("PUBLIC has TEMPORARY; {}", mend(&info.name))),
    };
    let others = match info.others_can_connect.as_slice() {
        [] => pass(OTHERS, "no other role was given CONNECT"),
        roles => {
            let names: Vec<String> = roles.iter().map(|role| ident(role)).collect();
            let sql = format!("REVOKE CONNECT ON DATABASE {} FROM {}", ident(&info.name), names.join(", "));
            let command = ["cargo", "xtask", "psql", &info.name, "--", "-c", &sql];
            let advice = quote::advice(&command, "take CONNECT from them");
            fail(OTHERS, format!("`{}` may connect; {advice}", roles.join("`, `")))
        }
    };
    vec![
        equal("owner", &info.owner, owner),
        equal("encoding", &info.encoding, encoding),
        equal("collation", &info.collation, locale),
        equal("character type", &info.ctype, locale),
        public,
        others,
    ]
}

const OTHERS: &str = "closed to other roles";

fn mend(tenant: &str) -> String {
    quote::advice(&["cargo", "xtask", "tenant", "create", tenant], "mend it")
}

async fn owner_is_modest(session: &Session, tenant: &TenantSpec) -> Result<Check, Error> {
    const NAME: &str = "role";
    let Some(role) = role::find(session, &tenant.owner).await? else {
        return Ok(fail(NAME, format!("there is no role `{}`", tenant.owner)));
    };
    let mut excess = role.excess();
    if tenant.user != tenant.owner {
        match role::find(session, &tenant.user).await? {
            None => excess.push(format!("its second user `{}` is not there", tenant.user)),
            Some(user) => excess.extend(
                user.excess()
                    .into_iter()
                    .filter(|what| *what != format!("member of `{}`", tenant.owner))
                    .chain(user.create_db.then(|| "may create databases".to_owned()))
                    .chain(user.create_role.then(|| "may create roles".to_owned()))
                    .map(|what| format!("its second user `{}`: {what}", tenant.user)),
            ),
        }
    }
    excess.extend(role.create_db.then(|| "may create databases".to_owned()));
    excess.extend(role.create_role.then(|| "may create roles".to_owned()));
    Ok(if excess.is_empty() {
        pass(NAME, format!("`{}` may do no more than log in", tenant.owner))
    } else {
        fail(NAME, format!("`{}`: {}", tenant.owner, excess.join(", ")))
    })
}

/// Returns whether the tenant's user gets in, and what it sees there.
async fn logs_in(server: &Server, tenant: &TenantSpec) -> Vec<Check> {
    // Where the history is depends on what the tenant's role and database have set.
    let options = ConnectOptions { search_path: SearchPath::Own, ..tenant::look_options() };
    match connect(server, &tenant.login(), &options).await {
        Err(error)
            if matches!(error, Error::Unproved { .. })
                || matches!(error.sqlstate(), Some("28P01" | "28000" | "3D000")) =>
        {
            vec![fail(LOGIN, format!("{}; {}", error.chain(), mend(&tenant.name)))]
        }
        Err(error) => vec![fail(LOGIN, error.chain())],
        Ok(session) => {
            let tls = session.tls().clone();
            let acts_as = role::current(&session).await;
            let inside = look_inside(&session).await;
            let history = migrate::find_history(&session, &tenant.name, &tenant.history).await;
            session.close().await;
            let inside = match inside {
                Ok(inside) => inside.checks(&tenant.name, &tenant.owner),
                Err(error) => vec![unknown("grants and owners", error.chain())],
            };
            let login = proved(tenant, &tls, acts_as);
            std::iter::once(login).chain(inside).chain([in_one_place(tenant, history)]).collect()
        }
    }
}

/// Returns whether the history is where `search_path` leads, and nowhere else.
fn in_one_place(tenant: &TenantSpec, history: Result<(Option<String>, usize), Error>) -> Check {
    const NAME: &str = "history in one place";
    match history {
        Ok((Some(schema), count)) => {
            pass(NAME, format!("{count} migrations in `{schema}.{}`", tenant.history))
        }
        Ok((None, _)) => pass(NAME, format!("there is no `{}` yet", tenant.history)),
        Err(error @ (Error::Misplaced { .. } | Error::History { .. })) => fail(NAME, error.chain()),
        Err(error) => unknown(NAME, error.chain()),
    }
}

const LOGIN: &str = "login over verified TLS";

fn proved(tenant: &TenantSpec, tls: &Tls, acts_as: Result<String, Error>) -> Check {
    let mut evidence = format!("`{}` over {} to `{}`, {AUTH}", tenant.user, tls.protocol, tls.server_name);
    match acts_as {
        Err(error) => return unknown(LOGIN, error.chain()),
        // What a second user makes must be the owner's.
        Ok(role) if role != tenant.owner => {
            return fail(LOGIN, format!("`{}` acts as `{role}`, not as `{}`", tenant.user, tenant.owner));
        }
        Ok(role) if role != tenant.user => evidence.push_str(&format!(", as `{role}`")),
        Ok(_) => {}
    }
    pass(LOGIN, evidence)
}

/// Lets roles that must not get in try it: those of the other tenants, or else one made for this.
async fn strangers_stay_out(
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
        // One that cannot log in anywhere says nothing about this database; it has a check of its own.
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
        // This comes after the password was accepted: the privilege alone kept it out.
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
    // The date makes a role harmless, and known as left over, should we die before it is dropped.
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

/// Asks for the database without TLS and without a password: the server must refuse before it asks for one.
async fn plain_is_refused(server: &Server, tenant: &TenantSpec, reachable: bool) -> Check {
    const NAME: &str = "plain connection refused";
    let stream = match server.dial.dial().await {
        Ok(stream) => stream,
        Err(error) => return unknown(NAME, error.to_string()),
    };
    let mut config = Config::new();
    config.user(&tenant.owner).dbname(&tenant.name).ssl_mode(SslMode::Disable);
    let attempt = tokio::time::timeout(
        ConnectOptions::default().connect_timeout,
        Box::pin(config.connect_raw(stream, NoTls)),
    );
    match attempt.await {
        Err(_) => unknown(NAME, "the server did not answer"),
        Ok(Ok(_)) => fail(NAME, "the server let us in without TLS and without a password"),
        Ok(Err(error)) => match error.as_db_error() {
            Some(said) if said.code().code() == "28000" => pass(NAME, said.message().to_owned()),
            Some(said) => unknown(NAME, said.to_string()),
            None if was_hung_up(&error) && reachable => pass(NAME, "the server hung up"),
            None if was_hung_up(&error) => unknown(NAME, "the connection broke"),
            None => fail(NAME, "the server asked for a password without TLS"),
        },
    }
}

fn was_hung_up(error: &tokio_postgres::Error) -> bool {
    error.is_closed() || error.source().is_some_and(|cause| cause.is::<std::io::Error>())
}

/// Asks the same server for another name: its certificate must not do.
async fn wrong_name_is_refused(server: &Server, tenant: &TenantSpec, reachable: bool) -> Check {
    const NAME: &str = "wrong server name refused";
    let wrong = Server { host: format!("not-{}", server.host), ..server.clone() };
    match connect(&wrong, &tenant.login(), &ConnectOptions::default()).await {
        Ok(session) => {
            session.close().await;
            fail(NAME, format!("the certificate was taken for `{}`", wrong.host))
        }
        Err(error @ Error::Tls { .. }) if reachable => pass(NAME, error.chain()),
        Err(error) => unknown(NAME, error.chain()),
    }
}

fn random() -> String {
    format!("{:016x}", rand::rng().random::<u64>())
}

fn said(error: &Error) -> String {
    error.refusal().map_or_else(|| error.chain(), |refusal| refusal.message.clone())
}

fn pass(name: &'static str, evidence: impl Into<String>) -> Check {
    Check { name, verdict: Verdict::Pass, evidence: evidence.into() }
}

fn fail(name: &'static str, evidence: impl Into<String>) -> Check {
    Check { name, verdict: Verdict::Fail, evidence: evidence.into() }
}

fn unknown(name: &'static str, evidence: impl Into<String>) -> Check {
    Check { name, verdict: Verdict::Unknown, evidence: evidence.into() }
}
