//! `down`: takes everything down and proves that nothing is left.

use std::process::ExitCode;

use aws::{ApplyOptions, Cloud, Leftover};
use serde_json::json;
use stack::plan::{Action, Step};
use stack::{Component, Inventory, Plan};

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::task::{audit, plan};
use crate::{confirm, cost, power, view};

/// Shows the plan, asks for the stack's name, carries it out, and looks again.
pub async fn run(context: &Context, args: &xtask::Down) -> Result<ExitCode, Failure> {
    let only = plan::components(&args.components);
    let (cloud, inventory) = context.observe().await?;
    let plan = stack::plan::down(&context.stack, &inventory, &only);
    let shown = plan::render(&context.stack, &inventory, &plan);
    if args.dry_run {
        view::result(context.json, &shown, &plan::document(&context.stack, &inventory, &plan))?;
        return Ok(ExitCode::SUCCESS);
    }
    context.view.say(shown.trim_end());
    refuse_protected(&inventory, &plan, args)?;
    let goes = |id: &str| {
        plan.steps.iter().any(|step| matches!(&step.action, Action::Delete { id: gone } if gone == id))
    };
    let going = inventory.instances.iter().filter(|instance| goes(&instance.id));
    let connected = power::connected(&cloud, going).await?;
    if !connected.is_empty() {
        context.view.say(power::render(&connected).trim_end());
    }
    if !plan.is_empty() {
        if only.is_empty() {
            let question = "this deletes the whole stack, every tenant's data included";
            confirm::name(context, question, &context.stack.name)?;
        } else {
            confirm::yes(context, "delete these?")?;
        }
    }
    let options = ApplyOptions { unprotect: args.unprotect, ..ApplyOptions::default() };
    let removed = carry_out(context, &cloud, &plan, inventory, &options, &only).await?;
    let text = format!("down: {removed} parts deleted, nothing left of what was to go\n");
    view::result(
        context.json,
        &text,
        &json!({
            "stack": context.stack.name, "deleted": removed, "plan": plan, "left": [], "connected": connected,
        }),
    )?;
    Ok(ExitCode::SUCCESS)
}

/// Takes everything down without asking, and returns how many parts that were.
pub async fn demolish(context: &Context) -> Result<usize, Failure> {
    let (cloud, inventory) = context.observe().await?;
    let plan = stack::plan::down(&context.stack, &inventory, &[]);
    carry_out(context, &cloud, &plan, inventory, &ApplyOptions::default(), &[]).await
}

/// Says so before anything is deleted, not after the bastion is gone.
fn refuse_protected(inventory: &Inventory, plan: &Plan, args: &xtask::Down) -> Result<(), Failure> {
    let goes = plan.steps.iter().any(|step| step.resource == stack::Resource::Database);
    match &inventory.database {
        Some(database) if goes && database.deletion_protection && !args.unprotect => {
            let text = format!(
                "database `{}` is protected against deletion; nothing was deleted",
                database.identifier
            );
            Err(Failure::usage(text)
                .hint("run `cargo xtask down --unprotect` if its data may go")
                .still_running(cost::still_running(inventory)))
        }
        Some(_) | None => Ok(()),
    }
}

async fn carry_out(
    context: &Context,
    cloud: &Cloud,
    plan: &Plan,
    inventory: Inventory,
    options: &ApplyOptions,
    only: &[Component],
) -> Result<usize, Failure> {
    let applied = aws::apply(cloud, &context.stack, plan, inventory, options, &context.events, &context.stop);
    applied
        .await
        .map_err(|error| Failure::from(error).hint("run `cargo xtask down` again to go on from here"))?;
    let left = if only.is_empty() {
        Box::pin(aws::audit(cloud, &context.stack)).await?
    } else {
        // The rest of the stack stays, so only what was to go must be gone.
        let inventory = Box::pin(aws::observe(cloud, &context.stack)).await?;
        let again = stack::plan::down(&context.stack, &inventory, only);
        again.steps.iter().filter_map(leftover).collect()
    };
    if left.is_empty() {
        return Ok(plan.steps.len());
    }
    view::result(context.json, &audit::render(&left), &json!({ "stack": context.stack.name, "left": left }))?;
    Err(Failure::told(Exit::Leftovers)
        .hint("run `cargo xtask down` again; `cargo xtask audit` lists what is left"))
}

fn leftover(step: &Step) -> Option<Leftover> {
    let Action::Delete { id } = &step.action else { return None };
    Some(Leftover { kind: step.resource.title(), id: id.clone(), why: step.detail.clone() })
}
