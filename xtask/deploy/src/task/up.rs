//! `up`: creates what is missing and mends what is half-made.

use std::process::ExitCode;

use aws::{ApplyOptions, Cloud};
use serde_json::json;
use stack::{Component, Inventory, Plan};

use crate::context::Context;
use crate::failure::Failure;
use crate::task::plan;
use crate::{confirm, cost, view};

/// Shows the plan, asks, carries it out.
pub async fn run(context: &Context, args: &xtask::Up) -> Result<ExitCode, Failure> {
    let (cloud, inventory) = context.observe().await?;
    let plan = stack::plan::up(&context.stack, &inventory, &plan::components(&args.components));
    let shown = plan::render(&context.stack, &inventory, &plan);
    if args.dry_run {
        view::result(context.json, &shown, &plan::document(&context.stack, &plan))?;
        return Ok(ExitCode::SUCCESS);
    }
    context.view.say(shown.trim_end());
    let steps = plan.steps.len();
    let inventory = if plan.is_empty() {
        inventory
    } else {
        confirm::yes(context, "carry this out?")?;
        carry_out(context, &cloud, &plan, inventory).await?
    };
    let running = cost::still_running(&inventory);
    let text = match steps {
        0 => "unchanged".to_owned(),
        _ => format!("up: {steps} steps done\n{}", lines("running", &running)),
    };
    let document =
        json!({ "stack": context.stack.name, "steps": steps, "plan": plan, "inventory": inventory });
    view::result(context.json, &text, &document)?;
    Ok(ExitCode::SUCCESS)
}

/// Brings up those components (all, if none is named) without asking, and returns what exists then.
pub async fn converge(context: &Context, only: &[Component]) -> Result<(Cloud, Inventory, usize), Failure> {
    let (cloud, inventory) = context.observe().await?;
    let plan = stack::plan::up(&context.stack, &inventory, only);
    let inventory = carry_out(context, &cloud, &plan, inventory).await?;
    Ok((cloud, inventory, plan.steps.len()))
}

/// Carries out a plan for `up`.
///
/// # Errors
/// Says what is done, what still runs and costs, and that another `up` goes on from here.
async fn carry_out(
    context: &Context,
    cloud: &Cloud,
    plan: &Plan,
    inventory: Inventory,
) -> Result<Inventory, Failure> {
    let options = ApplyOptions::default();
    let applied =
        aws::apply(cloud, &context.stack, plan, inventory, &options, &context.events, &context.stop);
    applied.await.map_err(|error| {
        Failure::from(error)
            .hint("run `cargo xtask up` to go on from here, or `cargo xtask down` to take it down")
    })
}

fn lines(label: &str, lines: &[String]) -> String {
    lines.iter().map(|line| format!("{label}: {line}\n")).collect()
}
