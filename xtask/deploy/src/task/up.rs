//! `up`: creates what is missing and mends what is half-made.

use std::process::ExitCode;

use aws::{ApplyOptions, Cloud, Ephemeral};
use serde_json::json;
use stack::plan::{Action, Step};
use stack::{Component, Inventory, Plan, Resource};

use crate::alone::{self, Belief};
use crate::context::Context;
use crate::failure::Failure;
use crate::task::{plan, power};
use crate::{confirm, running, view};

/// Shows the plan, asks, carries it out.
pub async fn run(context: &Context, args: &xtask::Up) -> Result<ExitCode, Failure> {
    let ttl = args.ttl.as_deref().map(|ttl| power::span("--ttl", ttl)).transpose()?;
    let (cloud, inventory) = context.observe().await?;
    let plan = stack::plan::up(&context.stack, &inventory, &plan::components(&args.components));
    if ttl.is_some() {
        refuse_lasting(&inventory, &plan)?;
    }
    let shown = plan::render(&context.stack, &inventory, &plan);
    if args.dry_run {
        view::result(context.json, &shown, &plan::document(&context.stack, &inventory, &plan))?;
        return Ok(ExitCode::SUCCESS);
    }
    context.view.say(shown.trim_end());
    let (steps, inventory) = if plan.is_empty() {
        (0, inventory)
    } else {
        confirm::yes(context, "carry this out?")?;
        // Counted from here, not from before the question; the bastion's own timer counts from its launch.
        let ephemeral = ttl.map(|ttl| Ephemeral { ttl, expires_at: power::after(ttl).to_string() });
        let options = ApplyOptions { ephemeral, ..ApplyOptions::default() };
        let only = plan::components(&args.components);
        carry_out(context, &cloud, &only, inventory, &options).await?
    };
    let running = running::lines(&context.stack, &inventory);
    let text = match steps {
        0 => format!("unchanged\n{}", lines("running", &running)),
        _ => format!("up: {steps} steps done\n{}", lines("running", &running)),
    };
    let document =
        json!({ "stack": context.stack.name, "steps": steps, "plan": plan, "inventory": inventory });
    view::result(context.json, &text, &document)?;
    Ok(ExitCode::SUCCESS)
}

/// Refuses to call a bastion ephemeral that was launched to stay: its end is fixed at its launch.
fn refuse_lasting(inventory: &Inventory, plan: &Plan) -> Result<(), Failure> {
    let is_launched = |step: &Step| step.resource == Resource::Instance && step.action == Action::Create;
    match inventory.bastion() {
        Some(bastion) if bastion.expires_at.is_none() && !plan.steps.iter().any(is_launched) => {
            let text = format!("bastion {} is there already, and stays; nothing was changed", bastion.id);
            Err(Failure::usage(text).hint("run `cargo xtask down bastion` first, or leave `--ephemeral` out"))
        }
        Some(_) | None => Ok(()),
    }
}

/// Brings up those components (all, if none is named) without asking, and returns what exists then.
pub async fn converge(context: &Context, only: &[Component]) -> Result<(Cloud, Inventory, usize), Failure> {
    let (cloud, inventory) = context.observe().await?;
    let (steps, inventory) = carry_out(context, &cloud, only, inventory, &ApplyOptions::default()).await?;
    Ok((cloud, inventory, steps))
}

/// Brings up those components without asking, from what was observed before, and returns what exists then.
pub(super) async fn bring(
    context: &Context,
    cloud: &Cloud,
    inventory: Inventory,
    only: &[Component],
) -> Result<Inventory, Failure> {
    let (_, inventory) = carry_out(context, cloud, only, inventory, &ApplyOptions::default()).await?;
    Ok(inventory)
}

/// Carries out what there is to do while nobody else does, and returns the number of steps and what exists then.
///
/// # Errors
/// Says what is done, what still runs and costs, and that another `up` goes on from here.
async fn carry_out(
    context: &Context,
    cloud: &Cloud,
    only: &[Component],
    seen: Inventory,
    options: &ApplyOptions,
) -> Result<(usize, Inventory), Failure> {
    if stack::plan::up(&context.stack, &seen, only).is_empty() {
        return Ok((0, seen));
    }
    let work = async |inventory: Inventory| {
        // Another run may have done some of it, or all.
        let plan = stack::plan::up(&context.stack, &inventory, only);
        if options.ephemeral.is_some() {
            refuse_lasting(&inventory, &plan)?;
        }
        let (stack, events, stop) = (&context.stack, &context.events, &context.stop);
        let applied = aws::apply(cloud, stack, &plan, inventory, options, events, stop);
        let inventory = Box::pin(running::applied(context, cloud, applied)).await.map_err(|failure| {
            failure.hint("run `cargo xtask up` to go on from here, or `cargo xtask down` to take it down")
        })?;
        Ok((plan.steps.len(), inventory))
    };
    alone::change(context, cloud, ("up", Belief::IfEmpty), seen, work).await
}

fn lines(label: &str, lines: &[String]) -> String {
    lines.iter().map(|line| format!("{label}: {line}\n")).collect()
}
