//! `plan`: what `up` would do.

use std::process::ExitCode;

use serde_json::json;
use stack::plan::{Direction, Unknown};
use stack::{Component, Inventory, Plan, Stack};

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::text::{Text, put_line};
use crate::{cost, names, table, view};

/// Prints the plan; with `--check`, exit 8 if it is not empty. What stays is nothing to be done.
pub async fn run(context: &Context, args: &xtask::Plan) -> Result<ExitCode, Failure> {
    let (_, inventory) = context.observe().await?;
    names::check_all(context, &inventory)?;
    names::warn(context, &inventory);
    let plan = stack::plan::up(&context.stack, &inventory, &components(&args.components));
    permit(&context.stack, &inventory, &plan)?;
    view::result(
        context.json,
        &render(&context.stack, &inventory, &plan),
        &document(&context.stack, &inventory, &plan),
    )?;
    if args.check && !plan.is_empty() {
        return Err(Failure::told(Exit::Drift));
    }
    Ok(ExitCode::SUCCESS)
}

/// Refuses a plan for `up` that would make a second database or run into what is not the stack's.
///
/// # Errors
/// Exit 2, with what to write or to type.
pub fn permit(stack: &Stack, inventory: &Inventory, plan: &Plan) -> Result<(), Failure> {
    stack::stray::refuse_up(stack, inventory, plan).map_or(Ok(()), |refusal| Err(Failure::from(refusal)))
}

/// Returns the components that the command line names.
pub fn components(args: &[xtask::Component]) -> Vec<Component> {
    args.iter()
        .map(|component| match component {
            xtask::Component::Network => Component::Network,
            xtask::Component::SecurityGroups => Component::SecurityGroups,
            xtask::Component::Secrets => Component::Secrets,
            xtask::Component::Database => Component::Database,
            xtask::Component::Bastion => Component::Bastion,
        })
        .collect()
}

/// Renders a plan for people: steps, minutes, money, and what is not stated and stays.
pub fn render(stack: &Stack, inventory: &Inventory, plan: &Plan) -> Text {
    let mut text = render_steps(stack, inventory, plan);
    for unknown in &plan.left_alone {
        text.line(stays(unknown));
    }
    if !plan.left_alone.is_empty() {
        text.line(REMEDY);
    }
    text
}

/// What to do about that which is not stated.
pub const REMEDY: &str = "state it under `allow_groups` or `allow_cidrs` in the stack file, or remove it with \
                          `cargo xtask up --remove-unknown-rules`";

/// Says that something stays which the stack file does not state.
pub fn stays(unknown: &Unknown) -> String {
    let warning = if unknown.too_open { " (too open)" } else { "" };
    format!("{unknown}{warning}; it stays")
}

/// Renders a plan for people, without what stays.
pub fn render_steps(stack: &Stack, inventory: &Inventory, plan: &Plan) -> Text {
    if plan.is_empty() {
        return match plan.direction {
            Direction::Up => {
                Text::of(format_args!("nothing to do: all {} parts are as they should be", plan.unchanged))
            }
            Direction::Down => Text::of("nothing to do: nothing of the stack is left"),
        };
    }
    let rows: Vec<Vec<String>> = plan
        .steps
        .iter()
        .map(|step| vec![step.action.verb().to_owned(), step.subject().to_owned(), step.detail.clone()])
        .collect();
    let mut text = table::render(&["step", "part", ""], &rows);
    text.blank();
    put_line!(
        text,
        "{} steps, {} parts unchanged; AWS usually takes about {}",
        plan.steps.len(),
        plan.unchanged,
        minutes(plan.critical_path())
    );
    let now = stack::cost::of_inventory(stack, inventory);
    if plan.direction == Direction::Up {
        let then = stack::cost::of_stack(stack);
        let difference = stack::cost::difference(now.now(), then.running());
        text.blank();
        text.add(&cost::render(&then));
        text.line(difference);
    } else {
        put_line!(text, "{} a month now", now.now());
    }
    text
}

/// Returns the plan as JSON.
pub fn document(stack: &Stack, inventory: &Inventory, plan: &Plan) -> serde_json::Value {
    json!({
        "stack": stack.name,
        "region": stack.region,
        "plan": plan,
        "typical_seconds": plan.critical_path().as_secs(),
        "monthly_cost": stack::cost::of_stack(stack),
        "monthly_cost_now": stack::cost::of_inventory(stack, inventory).now(),
    })
}

fn minutes(path: std::time::Duration) -> String {
    match path.as_secs() {
        0..90 => format!("{} seconds", path.as_secs().max(1)),
        seconds => format!("{} minutes", seconds.div_ceil(60)),
    }
}
