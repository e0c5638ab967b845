//! Carries out a plan. If that fails, the failure says what still runs and costs.

use aws::{ApplyOptions, Cloud};
use stack::{Inventory, Plan};

use crate::context::Context;
use crate::failure::Failure;
use crate::{cause, running};

/// Carries out a plan and returns what exists then.
///
/// # Errors
/// The step that failed, with its exit code and hints.
pub async fn apply(
    context: &Context,
    cloud: &Cloud,
    plan: &Plan,
    seen: Inventory,
    options: &ApplyOptions,
) -> Result<Inventory, Failure> {
    let (stack, events, stop) = (&context.stack, &context.events, &context.stop);
    let applying = aws::apply(cloud, stack, plan, seen, options, events, stop);
    match Box::pin(applying).await {
        Ok(inventory) => Ok(inventory),
        Err(error) => {
            let running = running::now(stack, cloud, &error.inventory).await;
            Err(cause::of_apply(error).still_running(running))
        }
    }
}
