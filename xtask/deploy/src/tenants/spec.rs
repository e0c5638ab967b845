//! What each tenant is to be, with the password that its secret holds.

use std::collections::HashMap;

use aws::Cloud;
use aws::secret::Credentials;
use db::tenant::TenantSpec;
use futures_util::future::join_all;
use stack::spec::Tenant;

use crate::bridge;
use crate::context::Context;
use crate::failure::{Exit, Failure};

/// For how many tenants each secret is read by itself, with the password of a rotation that was cut off. Secrets of more
/// are read together, and whoever such a rotation has left behind is refused by the server and told how to finish it.
const FEW: usize = 20;

/// Returns what each tenant is to be, with the password that its secret holds, or why that cannot be had and what mends it.
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
    // Credentials that have expired are nobody's in particular.
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
    // Tenants may share a role, and an error cannot be told twice but as text.
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

/// Tells whether a tenant's login fails because there is no such password, role or database, or none but a hash of MD5, which
/// `tenant create` mends. A migration that connects elsewhere may fail with the same codes.
pub(crate) fn is_shut_out(error: &db::Error) -> bool {
    matches!(error, db::Error::Unproved { .. })
        || (matches!(error, db::Error::Connect { .. })
            && matches!(error.sqlstate(), Some("28P01" | "28000" | "3D000")))
}

/// Returns what a tenant is to be, with what its secret holds.
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
