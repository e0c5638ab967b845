//! The start of every task that opens sessions: it observes the stack and starts the bastion.

use aws::{ApplyOptions, Cloud};
use stack::Inventory;

use crate::apply::apply;
use crate::context::Context;
use crate::failure::Failure;
use crate::{names, running};

/// Observes the stack, starts the bastion if it is stopped, and has the end of the task say what the bastion costs.
///
/// # Errors
/// Those of [`names::check`], before the bastion is started; or the bastion does not start.
pub async fn reach(context: &Context) -> Result<(Cloud, Inventory), Failure> {
    let (cloud, inventory) = context.observe().await?;
    names::check(context, &inventory)?;
    names::warn(context, &inventory);
    let inventory = Box::pin(start_if_stopped(context, &cloud, inventory)).await?;
    context.shutdown.set_closing_note(running::look(&context.stack, &cloud, &inventory));
    Ok((cloud, inventory))
}

/// Starts the bastion if it is stopped, waits until it takes sessions, and returns what exists then.
///
/// A missing bastion is no error here: opening the session says so.
///
/// # Errors
/// It does not start, or takes no session: exit 4 with the cause, where one is found.
async fn start_if_stopped(
    context: &Context,
    cloud: &Cloud,
    inventory: Inventory,
) -> Result<Inventory, Failure> {
    if inventory.bastion().is_none_or(|bastion| bastion.state == "running") {
        return Ok(inventory);
    }
    let Some(plan) = stack::plan::start(&context.stack, &inventory) else { return Ok(inventory) };
    if let Some(bastion) = inventory.bastion() {
        context.view.say(format!("bastion {} is {}; it is started", bastion.id, bastion.state));
    }
    Box::pin(apply(context, cloud, &plan, inventory, &ApplyOptions::default())).await
}
