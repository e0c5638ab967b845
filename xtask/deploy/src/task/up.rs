//! `up`: creates what is missing and mends what is half-made.

use std::process::ExitCode;

use aws::{ApplyOptions, Cloud, Ephemeral};
use serde_json::json;
use stack::plan::{Action, Step, Unknown};
use stack::{Component, Inventory, Plan, Resource};

use crate::apply::apply;
use crate::context::Context;
use crate::failure::Failure;
use crate::stack_lock::{self, Freshness, Outcome};
use crate::task::plan;
use crate::text::{Text, put_line};
use crate::{confirm, names, running, span, view};

/// Shows the plan, asks, carries it out.
pub async fn run(context: &Context, args: &xtask::Up) -> Result<ExitCode, Failure> {
    let ttl = args.ttl.as_deref().map(|ttl| span::parse("--ttl", ttl)).transpose()?;
    let (cloud, inventory) = context.observe().await?;
    names::check_all(context, &inventory)?;
    names::warn(context, &inventory);
    let only = plan::components(&args.components);
    let stack = &*context.stack;
    let closes = match args.remove_unknown_rules {
        true => stack::plan::unknown(stack, &inventory),
        false => stack::plan::obsolete(stack, &inventory),
    };
    let shown = stack::plan::up_with(stack, &inventory, &only, &closes);
    plan::permit(stack, &inventory, &shown)?;
    if ttl.is_some() {
        refuse_lasting(&inventory, &shown)?;
    }
    if args.dry_run {
        let text = plan::render(stack, &inventory, &shown);
        view::result(context.json, &text, &plan::document(stack, &inventory, &shown))?;
        return Ok(ExitCode::SUCCESS);
    }
    context.view.say_lines(&plan::render_steps(stack, &inventory, &shown));
    let closes = choose(context, &shown, closes)?;
    let agreed = stack::plan::up_with(stack, &inventory, &only, &closes);
    if !shown.is_empty() {
        confirm::yes(context, "carry this out?")?;
    }
    // Counted from here, not from before the question; the bastion's own timer counts from its launch.
    let ephemeral = ttl.map(|ttl| Ephemeral { ttl, expires_at: span::from_now(ttl).to_string() });
    let options = ApplyOptions { ephemeral, ..ApplyOptions::default() };
    let wish = Wish { only: &only, closes: &closes, options: &options };
    let (done, inventory) = as_agreed(context, &cloud, &wish, inventory, agreed).await?;
    let running = running::lines(&context.stack, &inventory);
    let mut text = match done.steps.len() {
        0 => Text::of("unchanged"),
        steps => Text::of(format_args!("up: {steps} steps done")),
    };
    for one in &running {
        put_line!(text, "running: {one}");
    }
    let document = json!({
        "stack": stack.name, "steps": done.steps.len(), "plan": done, "inventory": inventory,
    });
    view::result(context.json, &text, &document)?;
    Ok(ExitCode::SUCCESS)
}

/// Asks about each thing that the stack file does not state, and returns all that is to be taken away. What stays is told.
fn choose(context: &Context, plan: &Plan, mut closes: Vec<Unknown>) -> Result<Vec<Unknown>, Failure> {
    let mut stays = false;
    for unknown in &plan.left_alone {
        if confirm::beside(context, &unknown.to_string(), "the stack file does not state it; remove it?")? {
            closes.push(unknown.clone());
        } else {
            context.events.warn(plan::stays(unknown));
            stays = true;
        }
    }
    if stays {
        context.view.say(plan::REMEDY);
    }
    Ok(closes)
}

/// Carries out what was agreed to; where it would be something else by now, shows that and asks again.
async fn as_agreed(
    context: &Context,
    cloud: &Cloud,
    wish: &Wish<'_>,
    mut inventory: Inventory,
    mut agreed: Plan,
) -> Result<(Plan, Inventory), Failure> {
    loop {
        match Box::pin(carry_out(context, cloud, wish, inventory, Some(&agreed))).await? {
            Outcome::Done(done) => return Ok(done),
            Outcome::Changed(now) => {
                let stack = &context.stack;
                let plan = stack::plan::up_with(stack, &now, wish.only, wish.closes);
                context.view.say("what exists has changed since the plan was shown; nothing was changed yet");
                context.view.say_lines(&plan::render(stack, &now, &plan));
                confirm::yes(context, "carry this out instead?")?;
                (inventory, agreed) = (*now, plan);
            }
        }
    }
}

/// What is to be brought up, and how.
struct Wish<'a> {
    only: &'a [Component],
    /// What the stack file does not state and is to go.
    closes: &'a [Unknown],
    options: &'a ApplyOptions,
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
    let (plan, inventory) = unasked(context, &cloud, inventory, only).await?;
    Ok((cloud, inventory, plan.steps.len()))
}

/// Brings up those components without asking, from what was observed before, and returns what exists then.
pub(super) async fn bring(
    context: &Context,
    cloud: &Cloud,
    inventory: Inventory,
    only: &[Component],
) -> Result<Inventory, Failure> {
    Ok(unasked(context, cloud, inventory, only).await?.1)
}

/// Brings up without asking. What the stack file does not state stays, whoever made it: another checkout may state it.
async fn unasked(
    context: &Context,
    cloud: &Cloud,
    inventory: Inventory,
    only: &[Component],
) -> Result<(Plan, Inventory), Failure> {
    let options = ApplyOptions::default();
    let wish = Wish { only, closes: &[], options: &options };
    match Box::pin(carry_out(context, cloud, &wish, inventory, None)).await? {
        Outcome::Done(done) => Ok(done),
        Outcome::Changed(_) => unreachable!("invariant: nobody has agreed to a plan"),
    }
}

/// Carries out what there is to do while nobody else does, and returns that and what exists then.
///
/// # Errors
/// Says what is done, what still runs and costs, and that another `up` goes on from here.
async fn carry_out(
    context: &Context,
    cloud: &Cloud,
    wish: &Wish<'_>,
    seen: Inventory,
    agreed: Option<&Plan>,
) -> Result<Outcome<(Plan, Inventory)>, Failure> {
    let Wish { only, closes, options } = wish;
    names::check_all(context, &seen)?;
    let first = stack::plan::up_with(&context.stack, &seen, only, closes);
    if first.is_empty() {
        return Ok(Outcome::Done((first, seen)));
    }
    plan::permit(&context.stack, &seen, &first)?;
    let work = async |inventory: Inventory| {
        // Another run may have done some of it, or all.
        names::check_all(context, &inventory)?;
        let plan = stack::plan::up_with(&context.stack, &inventory, only, closes);
        plan::permit(&context.stack, &inventory, &plan)?;
        if options.ephemeral.is_some() {
            refuse_lasting(&inventory, &plan)?;
        }
        if let Some(agreed) = agreed {
            if !stack_lock::goes_on(context, &plan, agreed, "up")? {
                return Ok(Outcome::Changed(Box::new(inventory)));
            }
            if !plan.is_as_agreed(agreed) {
                context.view.say("what exists has changed since the plan was shown; this is done now:");
                context.view.say_lines(&plan::render_steps(&context.stack, &inventory, &plan));
            }
        }
        let applied = apply(context, cloud, &plan, inventory, options);
        let inventory = Box::pin(applied).await.map_err(|failure| {
            failure.hint("run `cargo xtask up` to go on from here, or `cargo xtask down` to take it down")
        })?;
        Ok(Outcome::Done((plan, inventory)))
    };
    let freshness = match agreed {
        Some(_) => Freshness::IfEmpty.unless_asked(context),
        None => Freshness::IfEmpty,
    };
    Box::pin(stack_lock::change(context, cloud, ("up", freshness), seen, work)).await
}
