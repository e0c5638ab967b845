//! `tenant create`: creates roles, secrets and databases that are missing, and repairs passwords that differ.

use std::collections::{BTreeSet, HashMap};

use aws::secret::Credentials;
use db::Login;
use db::migrate::Stop;
use db::tenant::{Created, Outcome, TenantSpec};
use serde_json::json;
use stack::spec::Tenant;

use crate::context::Context;
use crate::db_task::DbTask;
use crate::failure::{Exit, Failure};
use crate::{bridge, interrupt, table, tenants, view};

/// Creates what is missing, and repairs what differs.
///
/// # Errors
/// What concerns all tenants; a tenant's own failure is in its outcome.
pub async fn create(task: DbTask<'_>, master: &Login, tenants: &[Tenant]) -> Result<Vec<Created>, Failure> {
    let DbTask { context, cloud, server } = task;
    let roles: BTreeSet<String> = tenants.iter().map(|tenant| tenant.owner.clone()).collect();
    let names = roles.iter().map(|role| context.stack.role_secret_name(role)).collect();
    // Checked before anything is created: the name of another stack's secret is a mistake in the stack file.
    Box::pin(aws::secret::check_all(cloud, &context.stack, &names)).await?;
    let made = aws::secret::ensure_all(cloud, &context.stack, &roles, &context.stop, &context.events).await;
    context.check_interrupted()?;
    let is_denied = |one: &Result<Credentials, aws::Error>| {
        one.as_ref().is_err_and(|error| error.kind() == aws::Kind::Credentials)
    };
    let nobody_may = made.values().all(is_denied);
    let (mut found, mut reasons) = (HashMap::new(), HashMap::new());
    for (role, one) in made {
        let Some(tenant) = tenants.iter().find(|tenant| tenant.owner == role) else { continue };
        match one {
            Ok(credentials) => drop(found.insert(role, credentials)),
            // Expired credentials concern all tenants.
            Err(error) if nobody_may => return Err(error.into()),
            Err(error) => drop(reasons.insert(role, tenants::one_line(bridge::no_secret(tenant, error)))),
        }
    }
    let mut specs = Vec::new();
    let mut without = HashMap::new();
    for tenant in tenants {
        if let Some(credentials) = found.get(&tenant.owner) {
            specs.push(tenants::spec(tenant, credentials.clone()));
        } else if let Some(reason) = reasons.get(&tenant.owner) {
            without.insert(tenant.name.as_str(), refused(context, tenant, reason.clone()));
        }
    }
    let stop = Stop::new();
    let forwarding = interrupt::forward(&context.stop, &stop);
    let created = async {
        let mut created = db::tenant::create_until(server, master, &specs, &stop, &context.events).await?;
        let moved = rotated_meanwhile(task, &specs, &created).await;
        match db::tenant::create_until(server, master, &moved, &stop, &context.events).await {
            Ok(again) => replace(&mut created, again),
            // The first outcomes are still reported.
            Err(error) => context.events.warn(format!(
                "whether a password was rotated meanwhile is not known, the same again looks at it: {}",
                error.chain()
            )),
        }
        Ok::<_, Failure>(created)
    };
    let together = context.view.together("tenants", "tenant ", specs.len());
    let created = created.await;
    drop(together);
    forwarding.abort();
    let mut created = created?.into_iter().peekable();
    let in_order = |tenant: &Tenant| {
        without.remove(tenant.name.as_str()).or_else(|| created.next_if(|one| one.tenant == tenant.name))
    };
    Ok(tenants.iter().filter_map(in_order).collect())
}

fn replace(created: &mut [Created], again: Vec<Created>) {
    for again in again {
        if let Some(one) = created.iter_mut().find(|one| one.tenant == again.tenant) {
            *one = again;
        }
    }
}

/// Returns the outcome of a tenant whose secret cannot be read.
fn refused(context: &Context, tenant: &Tenant, reason: String) -> Created {
    let error = db::Error::NoLogin { tenant: tenant.name.clone(), reason };
    let subject = format!("tenant {}", tenant.name);
    context.events.emit(stack::Event::StepFailed { subject, error: error.chain() });
    Created { tenant: tenant.name.clone(), outcome: Outcome::Failed(error), findings: Vec::new() }
}

/// Returns the tenants whose role was set to an old password: a rotation replaced it after it was read here.
async fn rotated_meanwhile(task: DbTask<'_>, specs: &[TenantSpec], created: &[Created]) -> Vec<TenantSpec> {
    let DbTask { context, cloud, .. } = task;
    let mut moved = Vec::new();
    for (spec, one) in specs.iter().zip(created) {
        if matches!(one.outcome, Outcome::Repaired(_)) {
            let name = context.stack.role_secret_name(&spec.owner);
            let now = match aws::secret::find_credentials(cloud, &context.stack, &name).await {
                Ok(now) => now.filter(|now| now.password != spec.password),
                // The other tenants are still checked.
                Err(error) => {
                    let why = Failure::from(error).chain();
                    context.events.warn(format!(
                        "whether the password of `{}` was rotated meanwhile cannot be seen: {why}",
                        spec.owner
                    ));
                    None
                }
            };
            let tenant = context.stack.tenant(&spec.name);
            moved.extend(tenant.zip(now).map(|(tenant, now)| tenants::spec(tenant, now)));
        }
    }
    moved
}

/// Prints the outcome of each tenant.
pub(super) fn show_created(context: &Context, created: &[Created]) -> Result<(), Failure> {
    let rows: Vec<Vec<String>> = created
        .iter()
        .map(|one| {
            let state = match &one.outcome {
                Outcome::Created => "created".to_owned(),
                Outcome::Unchanged => "unchanged".to_owned(),
                Outcome::Repaired(what) => format!("repaired: {}", what.join(", ")),
                Outcome::Failed(error) => format!("failed: {}", error.chain()),
                Outcome::NotStarted => "not started: the run was interrupted".to_owned(),
            };
            vec![one.tenant.clone(), state, one.findings.join("; ")]
        })
        .collect();
    view::result(
        context.json,
        &table::render(&["tenant", "outcome", ""], &rows),
        &json!({ "tenants": created }),
    )?;
    judge_created(created)
}

/// Tells whether every tenant is as it should be.
///
/// # Errors
/// Exit 6 or 7 if all or some tenants failed, 8 if one differs in a way that is not repaired unasked, 130 if the run was
/// interrupted.
pub fn judge_created(created: &[Created]) -> Result<(), Failure> {
    if created.iter().any(|one| matches!(one.outcome, Outcome::NotStarted)) {
        return Err(Failure::new(
            Exit::Interrupted,
            anyhow::Error::msg("interrupted while creating tenants"),
        )
        .hint("run the same again: what is there already stays as it is"));
    }
    let failed = created.iter().filter(|one| matches!(one.outcome, Outcome::Failed(_))).count();
    tenants::verdict(failed, created.len())?;
    if created.iter().any(|one| !one.findings.is_empty()) {
        return Err(Failure::told(Exit::Drift));
    }
    Ok(())
}
