//! `tenant verify`: proves that each tenant is as it should be.

use std::collections::HashMap;

use db::Login;
use db::tenant::{Check, Verdict, Verification};
use serde_json::json;
use stack::spec::Tenant;

use crate::db_task::DbTask;
use crate::failure::Failure;
use crate::text::{Text, put_line};
use crate::{tenants, view};

/// Verifies and prints every check.
///
/// # Errors
/// Exit 6 or 7 if all or some tenants failed.
pub async fn verify(
    task: DbTask<'_>,
    master: &Login,
    tenants: &[Tenant],
) -> Result<Vec<Verification>, Failure> {
    let verifications = look(task, master, tenants).await?;
    let mut text = Text::new();
    for one in &verifications {
        put_line!(text, "{}: {}", one.tenant, one.verdict());
        for check in &one.checks {
            put_line!(text, "  {:<7} {}: {}", check.verdict.to_string(), check.name, check.evidence);
        }
    }
    view::result(task.context.json, &text, &json!({ "tenants": verifications }))?;
    judge_verified(&verifications)?;
    Ok(verifications)
}

/// Verifies the tenants.
///
/// # Errors
/// What concerns all tenants; a tenant's own failure is in its checks.
pub async fn look(
    task: DbTask<'_>,
    master: &Login,
    tenants: &[Tenant],
) -> Result<Vec<Verification>, Failure> {
    let DbTask { context, cloud, server } = task;
    let mut ready = Vec::new();
    let mut refused = HashMap::new();
    for (tenant, spec) in tenants.iter().zip(tenants::specs(context, cloud, tenants).await?) {
        match spec {
            Ok(spec) => ready.push(spec),
            Err(failure) => drop(refused.insert(tenant.name.as_str(), tenants::one_line(failure))),
        }
    }
    let mut verified = db::tenant::verify(server, master, &ready).await?.into_iter().peekable();
    let in_order = |tenant: &Tenant| match refused.remove(tenant.name.as_str()) {
        Some(evidence) => {
            let check = Check { name: "secret", verdict: Verdict::Fail, evidence };
            Some(Verification { tenant: tenant.name.clone(), checks: vec![check] })
        }
        None => verified.next_if(|one| one.tenant == tenant.name),
    };
    Ok(tenants.iter().filter_map(in_order).collect())
}

/// Tells whether every tenant was proved to be as it should be.
///
/// # Errors
/// Exit 6 or 7 if all or some were not.
pub fn judge_verified(verifications: &[Verification]) -> Result<(), Failure> {
    // A check that could not run is no pass.
    let failed = verifications.iter().filter(|one| one.verdict() != Verdict::Pass).count();
    tenants::verdict(failed, verifications.len())
}
