//! The run itself, over every tenant.

use db::Login;
use db::migrate::{RunOptions, Target, TenantReport};
use stack::spec::Tenant;

use super::options;
use crate::db_task::DbTask;
use crate::failure::Failure;
use crate::sets::Sets;
use crate::{interrupt, tenants};

/// Migrates the tenants in the waves of the stack file.
///
/// # Errors
/// What concerns all tenants. A tenant's own failure is in its report.
pub async fn in_waves(
    task: DbTask<'_>,
    tenants: &[Tenant],
    sets: &mut Sets,
    lock_timeout: u32,
) -> Result<Vec<TenantReport>, Failure> {
    let targets = sets.targets(tenants, logins(task, tenants).await?)?;
    let mut options = options::configured(task.context, tenants, lock_timeout);
    options.jobs = options::jobs(task, None, &targets).await?;
    Ok(migrate(task, &targets, &options).await)
}

/// Migrates all tenants at the same time.
///
/// # Errors
/// What concerns all tenants. A tenant's own failure is in its report.
pub async fn apply(
    task: DbTask<'_>,
    tenants: &[Tenant],
    sets: &mut Sets,
) -> Result<Vec<TenantReport>, Failure> {
    let targets = sets.targets(tenants, logins(task, tenants).await?)?;
    let options = RunOptions { jobs: tenants.len(), ..RunOptions::default() };
    Ok(migrate(task, &targets, &options).await)
}

/// Runs the migrations and returns a report for every tenant. After Ctrl-C the migrations in flight end or are rolled back.
pub(super) async fn migrate(task: DbTask<'_>, targets: &[Target], options: &RunOptions) -> Vec<TenantReport> {
    let DbTask { context, server, .. } = task;
    let stop = interrupt::forward(&context.stop, &options.stop);
    let together = context.view.together("tenants", "tenant ", targets.len());
    let reports = db::migrate::run_sets(server, targets, options, &context.events).await;
    drop(together);
    stop.abort();
    reports
}

/// Returns how each tenant's role logs in, or why it cannot.
///
/// # Errors
/// What concerns all tenants.
pub(super) async fn logins(
    task: DbTask<'_>,
    tenants: &[Tenant],
) -> Result<Vec<Result<Login, String>>, Failure> {
    let specs = tenants::specs(task.context, task.cloud, tenants).await?;
    Ok(specs.into_iter().map(|spec| spec.map(|spec| spec.login()).map_err(tenants::one_line)).collect())
}
