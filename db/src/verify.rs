//! Proof that a tenant is what it should be, by looking and by trying.

mod check;
mod stranger;
mod transport;

use stack::spec::Tenant;

pub use self::check::{Check, Verdict, Verification};
use self::check::{fail, pass, unknown};
use crate::maintenance::{self, Grounds};
use crate::quote::{self, ident};
use crate::tenant::{self, TenantInfo, TenantSpec, check, observe, read_catalog};
use crate::{AUTH, ConnectOptions, Error, Login, SearchPath, Server, Session, Tls, connect, migrate, role};

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
    checks.extend(stranger::strangers_stay_out(server, session, tenant, tenants).await);
    checks.push(transport::plain_is_refused(server, tenant, reachable).await);
    checks.push(transport::wrong_name_is_refused(server, tenant, reachable).await);
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
            let inside = read_catalog(&session).await;
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
