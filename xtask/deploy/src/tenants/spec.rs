//! The wanted state of each tenant, with the password from its secret.

use std::collections::HashMap;

use aws::Cloud;
use aws::secret::Credentials;
use db::tenant::TenantSpec;
use futures_util::future::join_all;
use stack::spec::Tenant;

use crate::bridge;
use crate::context::Context;
use crate::failure::{Exit, Failure};

/// Up to this many tenants, each secret is read alone, with the pending password of an interrupted rotation. The secrets of
/// more tenants are read in batches; after an interrupted rotation the server refuses the login, and the hint says how to
/// finish the rotation.
const FEW: usize = 20;

/// Returns the wanted state of each tenant, or why its secret cannot be read and what helps.
///
/// # Errors
/// What concerns all tenants: nobody's secret may be read (3), or an interruption (130).
pub async fn specs(
    context: &Context,
    cloud: &Cloud,
    tenants: &[Tenant],
) -> Result<Vec<Result<TenantSpec, Failure>>, Failure> {
    let mut specs = match tenants.len() {
        0..=FEW => one_by_one(context, cloud, tenants).await,
        _ => together(context, cloud, tenants).await,
    };
    context.check_interrupted()?;
    let is_denied =
        |spec: &Result<TenantSpec, Failure>| matches!(spec, Err(failure) if failure.exit == Exit::Permission);
    // Expired credentials concern all tenants.
    if specs.iter().all(is_denied)
        && let Some(Err(failure)) = specs.pop()
    {
        return Err(failure);
    }
    Ok(specs)
}

async fn one_by_one(
    context: &Context,
    cloud: &Cloud,
    tenants: &[Tenant],
) -> Vec<Result<TenantSpec, Failure>> {
    let specs = tenants.iter().map(async |tenant| {
        let login = Box::pin(bridge::owner(context, cloud, tenant)).await?;
        Ok(spec(tenant, Credentials { user: Some(login.user), password: login.password }))
    });
    join_all(specs).await
}

async fn together(context: &Context, cloud: &Cloud, tenants: &[Tenant]) -> Vec<Result<TenantSpec, Failure>> {
    let name_of = |tenant: &Tenant| context.stack.role_secret_name(&tenant.owner);
    let names = tenants.iter().map(name_of).collect();
    let mut found = aws::secret::find_all(cloud, &context.stack, &names, &context.events).await;
    // Tenants may share a role, and an error cannot be cloned: later tenants get its text.
    let mut refused: HashMap<String, Failure> = HashMap::new();
    let mut one = |tenant: &Tenant| {
        let name = name_of(tenant);
        if let Some(Ok(found)) = found.get(&name) {
            return Ok(spec(tenant, found.clone()));
        }
        let failure = refused.entry(name).or_insert_with_key(|name| {
            let missing = || aws::Error::Missing { what: format!("secret `{name}`") };
            let error = found.remove(name).and_then(Result::err).unwrap_or_else(missing);
            bridge::no_secret(tenant, error)
        });
        let again = Failure::new(failure.exit, anyhow::Error::msg(failure.chain()));
        Err(failure.hints.iter().fold(again, |again, hint| again.hint(hint)))
    };
    tenants.iter().map(&mut one).collect()
}

/// Tells whether a login failed because the password, role or database does not exist, or the server has only an MD5 hash.
/// `tenant create` repairs that. A migration that connects elsewhere may fail with the same codes.
pub(crate) fn is_shut_out(error: &db::Error) -> bool {
    matches!(error, db::Error::Unproved { .. })
        || (matches!(error, db::Error::Connect { .. })
            && matches!(error.sqlstate(), Some("28P01" | "28000" | "3D000")))
}

/// Returns the wanted state of a tenant with the credentials from its secret.
pub(crate) fn spec(tenant: &Tenant, found: Credentials) -> TenantSpec {
    TenantSpec {
        name: tenant.name.clone(),
        owner: tenant.owner.clone(),
        user: tenant.user(found.user.as_deref()).to_owned(),
        password: found.password,
        purpose: tenant.purpose.clone(),
        encoding: tenant.encoding.clone(),
        locale: tenant.locale.clone(),
        history: db::migration::history_table(tenant.migrations.as_deref()),
    }
}
