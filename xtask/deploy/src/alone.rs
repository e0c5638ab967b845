//! One run at a time changes a stack.

use aws::Cloud;
use stack::Inventory;

use crate::context::Context;
use crate::failure::Failure;
use crate::machine;

/// When what was seen before the lock was taken is still to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belief {
    /// Only if there was nothing at all: what is made twice stays twice.
    IfEmpty,
    /// Unless somebody had the lock: what has gone since is gone, and a last look finds what has come.
    UnlessLocked,
}

/// Does the work while nobody else changes the stack, on what exists then.
///
/// # Errors
/// Those of the work; exit 4 if the lock cannot be taken or is lost.
pub async fn change<T>(
    context: &Context,
    cloud: &Cloud,
    (task, belief): (&str, Belief),
    seen: Inventory,
    work: impl AsyncFnOnce(Inventory) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let whose = machine::whose();
    let taking =
        aws::lock::take(cloud, &context.stack, (task, &whose), &seen.locks, &context.events, &context.stop);
    let held = Box::pin(taking).await?;
    let is_believed = seen.locks.is_empty()
        && !held.has_waited()
        && match belief {
            Belief::IfEmpty => seen.is_empty(),
            Belief::UnlessLocked => true,
        };
    let result = Box::pin(held.during(async {
        let inventory =
            if is_believed { seen } else { Box::pin(aws::observe(cloud, &context.stack)).await? };
        Box::pin(work(inventory)).await
    }))
    .await;
    held.give_back(&context.events).await;
    result?
}
