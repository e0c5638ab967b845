//! `migrate --plan`: what would be applied where.

use std::collections::BTreeMap;

use db::Migration;
use db::migrate::{RunOptions, Target, TenantPlan};
use serde_json::json;

use crate::db_task::DbTask;
use crate::failure::Failure;
use crate::text::put_line;
use crate::{interrupt, table, tenants, view};

/// Prints what would be applied where.
///
/// # Errors
/// Exit 6 or 7 if all or some tenants cannot be migrated.
pub(super) async fn plan(task: DbTask<'_>, targets: &[Target], options: &RunOptions) -> Result<(), Failure> {
    let DbTask { context, server, .. } = task;
    let stop = interrupt::forward(&context.stop, &options.stop);
    let looked = db::migrate::plan_all(server, targets, options).await;
    stop.abort();
    context.check_interrupted()?;
    let mut rows = Vec::new();
    let mut plans: Vec<TenantPlan> = Vec::new();
    let mut failed = 0;
    let mut errors = Vec::new();
    let mut due: BTreeMap<(Option<&str>, i32), (&Migration, usize)> = BTreeMap::new();
    for (Target { login, set, .. }, looked) in targets.iter().zip(looked) {
        match looked {
            Ok(plan) => {
                for file in set.migrations.iter().filter(|file| plan.pending.contains(&file.to_string())) {
                    due.entry((set.name.as_deref(), file.version())).or_insert((file, 0)).1 += 1;
                }
                let problems = plan.problems();
                failed += usize::from(!problems.is_empty());
                let state =
                    if plan.pending.is_empty() { "up to date".to_owned() } else { plan.pending.join(", ") };
                let applied = plan.applied.len().to_string();
                rows.push(vec![login.database.clone(), applied, state, problems.join("; ")]);
                plans.push(plan);
            }
            Err(error) => {
                failed += 1;
                rows.push(vec![login.database.clone(), String::new(), "failed".to_owned(), error.chain()]);
                errors.push(json!({ "tenant": login.database, "error": error }));
            }
        }
    }
    let mut text = table::render(&["tenant", "applied", "pending", ""], &rows);
    let mut files = Vec::new();
    for ((set, _), (file, tenants)) in due {
        let of = set.map(|set| format!(" of the set `{set}`")).unwrap_or_default();
        text.blank();
        put_line!(text, "-- {file}{of}, due in {tenants} of {}", targets.len());
        text.file(file.sql());
        files.push(
            json!({ "migration": file.to_string(), "set": set, "tenants": tenants, "sql": file.sql() }),
        );
    }
    view::result(
        context.json,
        &text,
        &json!({ "plans": plans, "files": files, "errors": errors, "failed": failed }),
    )?;
    tenants::verdict(failed, targets.len())
}
