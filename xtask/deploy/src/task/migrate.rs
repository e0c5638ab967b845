//! `migrate`: brings tenants' databases up to the newest migration.

use std::fmt::Write as _;
use std::process::ExitCode;

use aws::Cloud;
use db::migrate::{Outcome, RunOptions, TenantPlan, TenantReport};
use db::{Login, Migration, Server};
use serde_json::json;
use stack::spec::Tenant;

use crate::bridge::Bridge;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::task::tenant;
use crate::{place, table, view};

/// Checks the files first, then plans or applies.
pub async fn run(context: &Context, args: &xtask::Migrate) -> Result<ExitCode, Failure> {
    let tenants = tenant::chosen(context, &args.tenants)?;
    let dir = args.dir.clone().unwrap_or_else(|| place::workspace().join("db/migrations"));
    let migrations = db::migration::load(&dir)?;
    for gap in db::migration::gaps(&migrations) {
        context.events.warn(format!("there is no migration V{gap}"));
    }
    let (cloud, inventory) = context.observe().await?;
    let bridge = Bridge::to_database(context, &cloud, &inventory).await?;
    let server = bridge.server(context)?;
    let result = if args.plan {
        plan(context, &cloud, &server, &tenants, &migrations).await
    } else {
        match apply(context, &cloud, &server, &tenants, &migrations, usize::from(args.jobs)).await {
            Ok(reports) => show(context, &reports),
            Err(failure) => Err(failure),
        }
    };
    drop(server);
    bridge.close().await?;
    result.map(|()| ExitCode::SUCCESS)
}

/// Prints what would be applied where.
///
/// # Errors
/// Exit 6 or 7 if all or some tenants cannot be migrated.
async fn plan(
    context: &Context,
    cloud: &Cloud,
    server: &Server,
    tenants: &[Tenant],
    migrations: &[Migration],
) -> Result<(), Failure> {
    let mut rows = Vec::new();
    let mut plans: Vec<TenantPlan> = Vec::new();
    let mut failed = 0;
    for login in logins(context, cloud, tenants).await? {
        context.check_interrupted()?;
        match db::migrate::plan(server, &login, migrations).await {
            Ok(plan) => {
                let problems = plan.problems();
                failed += usize::from(!problems.is_empty());
                let state =
                    if plan.pending.is_empty() { "up to date".to_owned() } else { plan.pending.join(", ") };
                rows.push(vec![
                    login.database.clone(),
                    plan.applied.len().to_string(),
                    state,
                    problems.join("; "),
                ]);
                plans.push(plan);
            }
            Err(error) => {
                failed += 1;
                rows.push(vec![login.database.clone(), String::new(), "failed".to_owned(), error.chain()]);
            }
        }
    }
    let text = table::render(&["tenant", "applied", "pending", ""], &rows);
    view::result(context.json, &text, &json!({ "plans": plans, "failed": failed }))?;
    tenant::verdict(failed, tenants.len())
}

/// Migrates.
///
/// # Errors
/// Exit 130 if Ctrl-C came first; a tenant's own failure is in its report.
pub async fn apply(
    context: &Context,
    cloud: &Cloud,
    server: &Server,
    tenants: &[Tenant],
    migrations: &[Migration],
    jobs: usize,
) -> Result<Vec<TenantReport>, Failure> {
    let logins = logins(context, cloud, tenants).await?;
    let options = RunOptions { jobs, ..RunOptions::default() };
    tokio::select! {
        reports = db::migrate::run(server, &logins, migrations, &options, &context.events) => Ok(reports),
        () = context.stop.raised() => {
            Err(Failure::new(Exit::Interrupted, anyhow::Error::msg("interrupted while migrating"))
                .hint("every migration is whole or rolled back; `cargo xtask migrate` goes on from there"))
        }
    }
}

/// Prints what became of each tenant.
fn show(context: &Context, reports: &[TenantReport]) -> Result<(), Failure> {
    let mut text = String::new();
    for report in reports {
        let line = match &report.outcome {
            Outcome::UpToDate => "up to date".to_owned(),
            Outcome::Applied { migrations } => format!("applied {}", migrations.join(", ")),
            Outcome::Failed { applied, migration, error } => {
                let at = migration.as_ref().map(|at| format!(" at {at}")).unwrap_or_default();
                format!("failed{at} after {} applied: {}", applied.len(), error.chain())
            }
            Outcome::Interrupted { applied, state } => {
                format!("interrupted after {} applied: {state}", applied.len())
            }
            Outcome::NotStarted { reason } => format!("not started: {reason}"),
        };
        let _ = writeln!(text, "{}: {line}", report.tenant);
    }
    view::result(context.json, &text, &json!({ "tenants": reports, "failed": failed(reports) }))?;
    judge(reports)
}

/// Tells whether every tenant is migrated.
///
/// # Errors
/// Exit 6 or 7 if all or some tenants failed.
pub fn judge(reports: &[TenantReport]) -> Result<(), Failure> {
    tenant::verdict(failed(reports), reports.len())
}

fn failed(reports: &[TenantReport]) -> usize {
    reports.iter().filter(|report| matches!(report.outcome, Outcome::Failed { .. })).count()
}

async fn logins(context: &Context, cloud: &Cloud, tenants: &[Tenant]) -> Result<Vec<Login>, Failure> {
    let specs = tenant::specs(context, cloud, tenants).await?;
    Ok(specs.iter().map(db::TenantSpec::login).collect())
}
