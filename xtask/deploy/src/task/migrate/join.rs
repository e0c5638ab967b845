//! `migrate --join`: one run by many runners, and its report at each of them.

use std::time::Duration;

use db::migrate::{JoinOptions, Joined, RunName, RunOptions, Target};
use serde_json::{Value, json};

use super::outcome::{failed, judge};
use crate::context::Context;
use crate::db_task::DbTask;
use crate::failure::Failure;
use crate::report::{self, junit};
use crate::text::{Text, put_line};
use crate::{bridge, interrupt, machine, view};

/// Takes part in the run until it is over, and prints the outcome of each tenant.
///
/// # Errors
/// Exit 2 if the run was begun with something else, 6 or 7 if all or some of its tenants failed or were held back, 130 if
/// this runner was interrupted.
pub(super) async fn run(
    task: DbTask<'_>,
    args: &xtask::Migrate,
    run: &RunName,
    targets: &[Target],
    options: RunOptions,
) -> Result<(), Failure> {
    let DbTask { context, cloud, server } = task;
    let admin = bridge::master(context, cloud).await?;
    let stop = interrupt::forward(&context.stop, &options.stop);
    let lease = Duration::from_secs(args.lease.into());
    let options = JoinOptions { run: options, lease, runner: runner(), ..JoinOptions::default() };
    let together = context.view.together("tenants", "tenant ", targets.len());
    let joined = Box::pin(db::migrate::join(server, &admin, run, targets, &options, &context.events)).await;
    drop(together);
    stop.abort();
    tell(context, args, run, &joined?)
}

fn tell(context: &Context, args: &xtask::Migrate, run: &RunName, joined: &Joined) -> Result<(), Failure> {
    let Joined { reports, runners, elapsed } = joined;
    let mut text = Text::new();
    let mut tenants = Vec::new();
    for (report, runner) in reports.iter().zip(runners) {
        let by = runner.as_ref().map(|runner| format!(" (by {runner})")).unwrap_or_default();
        put_line!(text, "{}: {}{by}", report.tenant, report::outcome(&report.outcome));
        let mut tenant = json!(report);
        if let Value::Object(fields) = &mut tenant {
            fields.insert("runner".to_owned(), json!(runner));
        }
        tenants.push(tenant);
    }
    let value = json!({ "run": run.as_str(), "tenants": tenants, "failed": failed(reports) });
    let shown =
        view::result(context.json, &text, &value).map_err(Failure::from).and_then(|()| judge(reports));
    let report = || junit::junit_joined(reports, runners, *elapsed);
    let written = args.junit.as_ref().map_or(Ok(()), |file| report::write(file, &report()));
    report::after(context, shown, written)
}

/// Returns a name by which people find this runner: the machine's name and the process's number.
fn runner() -> String {
    format!("{}-{}", machine::name().unwrap_or_else(|| "runner".to_owned()), std::process::id())
}
