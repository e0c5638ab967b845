//! `migrate status`: who has which migration, and whose database is not as configured.

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::Arc;

use db::Login;
use db::migrate::{RunOptions, Target};
use db::tenant::{TenantInfo, Verdict};
use stack::spec::Tenant;

use super::{apply, options};
use crate::bridge::{self, Bridge};
use crate::context::Context;
use crate::db_task::{self, DbTask};
use crate::failure::{Exit, Failure};
use crate::reach::reach;
use crate::report::extension;
use crate::report::html::html;
use crate::report::migration_status::{MigrationStatus, Seen, State};
use crate::sets::Sets;
use crate::text::Text;
use crate::{interrupt, paths, report, table, tenants};

/// Names in one line; further ones are counted.
const NAMES: usize = 5;

/// Shows the status of every tenant, or writes the page.
pub async fn run(
    context: &Context,
    migrate: &xtask::Migrate,
    args: &xtask::MigrateStatus,
) -> Result<ExitCode, Failure> {
    let acts = migrate.plan || migrate.repair || migrate.lint.is_some() || migrate.junit.is_some();
    if acts || migrate.baseline.is_some() {
        return Err(Failure::usage("`migrate status` only looks").hint("leave out the options of `migrate`"));
    }
    args.html.as_deref().map_or(Ok(()), report::try_writing)?;
    let known = match tenants::is_complete(context) {
        true => Some(tenants::chosen(context, &args.tenants)?),
        false => None,
    };
    let dir =
        args.dir.clone().or(migrate.dir.clone()).unwrap_or_else(|| paths::workspace().join("db/migrations"));
    let mut sets = Sets::load(&dir, known.as_deref(), &context.events)?;
    let (cloud, inventory) = reach(context).await?;
    let work = async |task: DbTask<'_>, _: &Arc<Bridge>| {
        let status = Box::pin(look(task, args, &mut sets)).await?;
        // Written before the session ends, which may take time or fail.
        let page = args.html.as_deref().map(|file| (file, html(&status)));
        let given = report::give(context, page, || render(&status), &status);
        let is_well = status.count(State::UpToDate) == status.tenants.len();
        let judged = if args.check && !is_well { Err(Failure::told(Exit::Drift)) } else { Ok(()) };
        report::after(context, judged, given)
    };
    db_task::run(context, &cloud, &inventory, work).await.map(|()| ExitCode::SUCCESS)
}

async fn look(
    task: DbTask<'_>,
    args: &xtask::MigrateStatus,
    sets: &mut Sets,
) -> Result<MigrationStatus, Failure> {
    let context = &*tenants::complete(task).await?;
    let DbTask { cloud, server, .. } = task;
    let master = bridge::master(context, cloud).await?;
    let tenants = tenants::chosen(context, &args.tenants)?;
    let databases = db::tenant::list(server, &master).await?;
    let databases: HashMap<&str, &TenantInfo> =
        databases.iter().map(|one| (one.name.as_str(), one)).collect();
    // A missing database takes no login, and its secret may be missing as well.
    let (there, missing): (Vec<Tenant>, Vec<Tenant>) =
        tenants.iter().cloned().partition(|one| databases.contains_key(one.name.as_str()));
    let logins = apply::logins(task.within(context), &there).await?;
    let targets = sets.targets(&there, logins)?;
    let jobs = options::jobs(task.within(context), args.jobs, &targets).await?;
    let run_options = RunOptions { jobs, ..RunOptions::default() };
    let stop = interrupt::forward(&context.stop, &run_options.stop);
    let plans = db::migrate::plan_all(server, &targets, &run_options).await;
    stop.abort();
    context.check_interrupted()?;
    let has_login = |target: &&Target| target.no_login.is_none();
    let logins: Vec<Login> = targets.iter().filter(has_login).map(|target| target.login.clone()).collect();
    let mut insides = db::tenant::read_catalogs(server, &logins, jobs).await.into_iter();
    context.check_interrupted()?;

    let mut seen: HashMap<&str, Seen> = HashMap::new();
    for ((one, target), plan) in there.iter().zip(&targets).zip(plans) {
        // Without a login the plan says why.
        let inside = if has_login(&target) { insides.next() } else { None };
        let info = databases[one.name.as_str()];
        let mut drift = db::tenant::differences(one, info);
        let plan = plan.map_err(|error| match tenants::is_shut_out(&error) {
            true => format!("{}; run `cargo xtask tenant create {}`", error.chain(), one.name),
            false => error.chain(),
        });
        let (mut plan, mut extensions) = (plan, Vec::new());
        match inside {
            None => {}
            Some(Ok(inside)) => {
                drift.extend(inside.checks(&one.name, &one.owner));
                extensions = inside.extensions;
            }
            // A check that failed is no pass.
            Some(Err(error)) => plan = plan.and(Err(error.chain())),
        }
        drift.retain(|check| check.verdict != Verdict::Pass);
        let drift = drift.iter().map(|check| format!("{}: {}", check.name, check.evidence)).collect();
        seen.insert(&one.name, Seen { extensions, ..of(one, plan, drift) });
    }
    for tenant in &missing {
        seen.insert(&tenant.name, of(tenant, Err("there is no such database".to_owned()), Vec::new()));
    }
    let mut seen: Vec<Seen> = tenants.iter().filter_map(|tenant| seen.remove(tenant.name.as_str())).collect();
    extension::compare(&mut seen);
    let now = jiff::Timestamp::now().round(jiff::Unit::Second).map_err(anyhow::Error::from)?;
    Ok(MigrationStatus::new(&context.stack.name, now.to_string(), &sets.all(), seen))
}

fn of(tenant: &Tenant, plan: Result<db::migrate::TenantPlan, String>, drift: Vec<String>) -> Seen {
    let (name, set) = (tenant.name.clone(), tenant.migrations.clone());
    Seen { tenant: name, labels: tenant.labels.clone(), set, plan, extensions: Vec::new(), drift }
}

/// Renders one line for each group of tenants with the same status.
pub(crate) fn render(status: &MigrationStatus) -> Text {
    use crate::report::migration_status::Cell;
    let mut rows = Vec::new();
    for group in status.groups() {
        let names: Vec<&str> =
            group.iter().take(NAMES).map(|place| status.tenants[*place].tenant.as_str()).collect();
        let more = group.len() - names.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let row = &status.tenants[group[0]];
        let has = |wanted: &[Cell]| {
            let columns = status.migrations.iter().zip(&row.cells);
            columns.filter(|(_, cell)| wanted.contains(cell)).map(|(column, _)| column).collect::<Vec<_>>()
        };
        let newest = has(&[Cell::Applied, Cell::Changed, Cell::NoFile]);
        let notes = if group.len() > 1 { row.anonymous_notes() } else { row.notes() };
        rows.push(vec![
            format!("{}{more}", names.join(", ")),
            row.state.label().to_owned(),
            newest.last().map_or(String::new(), |column| column.title()),
            has(&[Cell::Pending]).len().to_string(),
            notes.join("; "),
        ]);
    }
    let mut text = table::render(&["tenants", "state", "newest", "pending", ""], &rows);
    let counts: Vec<String> =
        State::ALL.iter().map(|state| format!("{} {}", status.count(*state), state.label())).collect();
    text.blank();
    text.line(counts.join(", "));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::migration_status::tests::{files, status, tenant};

    #[test]
    fn tenants_that_are_alike_share_a_line_of_text() {
        let mut seen: Vec<Seen> = (1..=7).map(|n| tenant(&format!("t{n}"), 2, 2)).collect();
        seen.push(tenant("behind", 2, 1));
        seen.push(Seen { plan: Err("no connection".to_owned()), ..tenant("broken", 2, 0) });
        assert_eq!(
            render(&status(&files(2), seen)),
            "tenants                        state       newest  pending\n\
             broken                         failed              0        no connection\n\
             behind                         pending     V1__m1  1\n\
             t1, t2, t3, t4, t5 and 2 more  up to date  V2__m2  0\n\n\
             1 failed, 0 drift, 1 pending, 7 up to date"
        );
    }
}
