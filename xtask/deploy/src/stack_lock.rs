//! The stack's lock: one run at a time changes a stack.

use aws::Cloud;
use stack::plan::{Action, Step};
use stack::{Inventory, Plan};

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::machine;

/// Whether what was seen before the lock was taken still holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// It holds only if nothing existed: a resource that is created twice stays twice.
    IfEmpty,
    /// It holds unless another run had the lock. Deleting what is gone already does nothing, and a last look finds what is
    /// new.
    UnlessLocked,
    /// It does not hold: the user has taken time to answer a question.
    Never,
}

impl Freshness {
    /// Returns this one if `--yes` answered, and [`Freshness::Never`] if a person did.
    #[must_use]
    pub fn unless_asked(self, context: &Context) -> Freshness {
        if context.yes { self } else { Freshness::Never }
    }
}

/// Takes the lock, observes the stack again unless `seen` still holds, does the work, and releases the lock.
///
/// # Errors
/// Those of the work; exit 4 if the lock cannot be taken or is lost.
pub async fn change<T>(
    context: &Context,
    cloud: &Cloud,
    (task, freshness): (&str, Freshness),
    seen: Inventory,
    work: impl AsyncFnOnce(Inventory) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let owner = machine::owner_label();
    let taking =
        aws::lock::take(cloud, &context.stack, (task, &owner), &seen.locks, &context.events, &context.stop);
    let held = Box::pin(taking).await?;
    let is_fresh = seen.locks.is_empty()
        && !held.has_waited()
        && match freshness {
            Freshness::IfEmpty => seen.is_empty(),
            Freshness::UnlessLocked => true,
            Freshness::Never => false,
        };
    let result = Box::pin(held.during(async {
        let inventory = if is_fresh { seen } else { Box::pin(aws::observe(cloud, &context.stack)).await? };
        Box::pin(work(inventory)).await
    }))
    .await;
    held.give_back(&context.events).await;
    result?
}

/// What became of a plan that the user confirmed.
pub enum Outcome<T> {
    /// It was carried out.
    Done(T),
    /// It was not started: the stack has changed, and the plan with it. Holds what exists now.
    Changed(Box<Inventory>),
}

/// Tells whether to carry out a plan of what exists now instead of the one that was confirmed.
///
/// Returns `false` if the plan differs and the user can be asked again. With `--yes` it goes on, unless the plan deletes or
/// replaces resources that were not shown.
///
/// # Errors
/// Exit 8 in that last case; nothing is changed.
pub fn goes_on(context: &Context, plan: &Plan, agreed: &Plan, task: &str) -> Result<bool, Failure> {
    if plan.is_as_agreed(agreed) || plan.is_empty() {
        return Ok(true);
    }
    if !context.yes {
        return Ok(false);
    }
    let surprises = plan.surprises(agreed);
    if surprises.is_empty() {
        return Ok(true);
    }
    let name = |step: &&Step| {
        let Action::Delete { id } = &step.action else { return step.subject().to_owned() };
        format!("{} `{id}`", step.subject())
    };
    let names = surprises.iter().map(name).collect::<Vec<_>>().join(", ");
    let text = format!(
        "what exists has changed since the plan was shown: {names} would be deleted as well; nothing was changed"
    );
    Err(Failure::new(Exit::Drift, anyhow::Error::msg(text))
        .hint(format!("look at it with `cargo xtask {task} --dry-run`, then run it again")))
}
