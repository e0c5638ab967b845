//! One run at a time changes a stack.

use aws::Cloud;
use stack::plan::{Action, Step};
use stack::{Inventory, Plan};

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::machine;

/// Whether what was seen before the lock was taken still holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Only if there was nothing at all: what is made twice stays twice.
    IfEmpty,
    /// Unless somebody had the lock: what has gone since is gone, and a last look finds what has come.
    UnlessLocked,
    /// Not at all: somebody has thought about a question meanwhile.
    Never,
}

impl Freshness {
    /// Returns this one, unless somebody was asked and has taken time to answer.
    #[must_use]
    pub fn unless_asked(self, context: &Context) -> Freshness {
        if context.yes { self } else { Freshness::Never }
    }
}

/// Does the work while nobody else changes the stack, on what exists then.
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

/// What has become of a plan that somebody agreed to.
pub enum Outcome<T> {
    /// It was carried out.
    Done(T),
    /// Not begun: what exists has changed, and what there is to do with it.
    Changed(Box<Inventory>),
}

/// Says whether to go on with a plan that is made of what exists now, in the place of the one that was agreed to.
///
/// Whoever can be asked is asked again (`false`). `--yes` goes on, unless it deletes or replaces what nobody has seen.
///
/// # Errors
/// Exit 8: it would, and nothing is done.
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
