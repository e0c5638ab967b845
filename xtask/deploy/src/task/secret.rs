//! `secret rotate`: new passwords for tenants' roles and for the master user.

pub mod rotate;

use std::process::ExitCode;
use std::sync::Arc;

use aws::Cloud;
use serde_json::{Value, json};
use stack::spec::Rotation;

use crate::bridge::Bridge;
use crate::context::Context;
use crate::db_task::{self, DbTask};
use crate::failure::Failure;
use crate::reach::reach;
use crate::text::Text;
use crate::{confirm, table, tenants, view};
use rotate::{Outcome, Rotated, Target};

/// Runs one of the secrets' tasks.
pub async fn run(context: &Context, task: &xtask::Secret) -> Result<ExitCode, Failure> {
    let xtask::Secret::Rotate(args) = task;
    if tenants::is_complete(context) {
        // A misspelt name is told before anything is contacted.
        targets(context, args)?;
    }
    let (cloud, inventory) = reach(context).await?;
    let work = async |task: DbTask<'_>, _: &Arc<Bridge>| work(task, args).await;
    db_task::run(context, &cloud, &inventory, work).await.map(|()| ExitCode::SUCCESS)
}

async fn work(task: DbTask<'_>, args: &xtask::SecretRotate) -> Result<(), Failure> {
    let context = &*tenants::complete(task).await?;
    let targets = targets(context, args)?;
    if args.dry_run {
        return dry_run(context, task.cloud, &targets).await;
    }
    confirm::yes(context, &question(&targets))?;
    let together = context.view.together("passwords", "password of ", targets.len());
    let rotated = rotate::rotate(task.within(context), &targets).await?;
    drop(together);
    show(context, rotated)
}

/// Returns whose passwords the command line names.
///
/// # Errors
/// Exit 2 for a role that owns no tenant of the stack file.
pub fn targets(context: &Context, args: &xtask::SecretRotate) -> Result<Vec<Target>, Failure> {
    let mut known: Vec<Target> = Vec::new();
    for tenant in &context.stack.tenants {
        if !known.iter().any(|target| target.name() == tenant.owner) {
            known.push(Target::Role {
                role: tenant.owner.clone(),
                database: tenant.name.clone(),
                rotation: tenant.rotation,
            });
        }
    }
    known.push(Target::Master);
    if args.all {
        return Ok(known);
    }
    let names: Vec<&str> = known.iter().map(Target::name).collect();
    for name in &args.roles {
        if !names.contains(&name.as_str()) {
            let shown: String = name.escape_debug().take(80).collect();
            return Err(Failure::usage(format!(
                "no tenant of the stack file belongs to a role `{shown}`; there are: {}",
                names.join(", ")
            )));
        }
    }
    Ok(known.into_iter().filter(|target| args.roles.iter().any(|name| name == target.name())).collect())
}

fn question(targets: &[Target]) -> String {
    let names: Vec<String> = targets.iter().map(|target| format!("`{}`", target.name())).collect();
    let has_second = |target: &Target| matches!(target, Target::Role { rotation: Rotation::TwoUsers, .. });
    let until = match targets.iter().all(has_second) {
        true => "the user before logs in until the next rotation",
        false => "new ones need the new password at once, unless there are two users",
    };
    format!("give new passwords to {}? Connections stay open; {until}.", names.join(", "))
}

/// Prints what would be done.
async fn dry_run(context: &Context, cloud: &Cloud, targets: &[Target]) -> Result<(), Failure> {
    let mut rows = Vec::new();
    let mut document: Vec<Value> = Vec::new();
    let mut failed = 0;
    for target in targets {
        context.check_interrupted()?;
        let name = target.secret_name(&context.stack);
        let found = aws::secret::rotate::find(cloud, &context.stack, &name).await;
        let (kind, text) = match found {
            Ok(None) => ("missing", "there is no secret, so that this would fail".to_owned()),
            Ok(Some(versions)) if versions.pending.is_some() => {
                ("finish", "the rotation that was cut off would be finished".to_owned())
            }
            Ok(Some(_)) => ("rotate", "would get a new password".to_owned()),
            Err(error @ aws::Error::Secret { .. }) if *target != Target::Master => {
                ("rebuild", format!("{error}: would get a new value with a new password"))
            }
            Err(error) => {
                failed += 1;
                ("unknown", Failure::from(error).chain())
            }
        };
        rows.push(vec![target.name().to_owned(), text]);
        document.push(json!({ "role": target.name(), "would": kind }));
    }
    view::result(context.json, &table::render(&["role", ""], &rows), &json!({ "roles": document }))?;
    tenants::verdict(failed, targets.len())
}

/// Prints what became of each password, and tells whether all are rotated.
///
/// # Errors
/// Of one: its own failure. Of more: exit 6 or 7 if all or some failed. Exit 130 after Ctrl-C.
fn show(context: &Context, mut rotated: Vec<Rotated>) -> Result<(), Failure> {
    let document: Vec<Value> = rotated.iter().map(entry).collect();
    let text: Text = rotated.iter().map(told).collect();
    view::result(context.json, &text, &json!({ "roles": document }))?;
    let all = rotated.len();
    rotated.retain(|one| matches!(one.outcome, Outcome::Failed { .. }));
    if rotated.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = rotated.iter().map(|one| one.target.name()).collect();
    let next = format!("run `cargo xtask secret rotate {}` to go on from here", names.join(" "));
    let failed = rotated.len();
    let interrupted = context.stop.is_raised();
    match rotated.pop().map(|one| one.outcome) {
        Some(Outcome::Failed { stage, failure }) if all == 1 => {
            Err(failure.hint(format!("{next}; until then {stage}")))
        }
        _ if interrupted => Err(Failure::interrupted().hint(next)),
        _ => tenants::verdict(failed, all).map_err(|failure| failure.hint(next)),
    }
}

fn told(one: &Rotated) -> Text {
    let name = one.target.name();
    match &one.outcome {
        Outcome::Rotated => Text::of(format_args!("{name}: rotated")),
        Outcome::Finished => Text::of(format_args!("{name}: the rotation that was cut off is finished")),
        Outcome::Failed { stage, failure } => {
            Text::of(format_args!("{name}: not rotated, {stage}: {}", failure.chain()))
        }
    }
}

fn entry(one: &Rotated) -> Value {
    let outcome = match &one.outcome {
        Outcome::Rotated => json!({ "kind": "rotated" }),
        Outcome::Finished => json!({ "kind": "finished" }),
        Outcome::Failed { stage, failure } => {
            json!({ "kind": "failed", "stage": stage, "error": failure.chain(), "hints": failure.hints })
        }
    };
    json!({ "role": one.target.name(), "outcome": outcome })
}
