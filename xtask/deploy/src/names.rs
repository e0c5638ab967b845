//! Names in the stack file that lead to what others have, or past what the stack has. Whoever went on would lock somebody
//! out, so this is looked at before anything is asked or written.

use stack::inventory::SecretEntry;
use stack::{Inventory, Stack, mismatch};

use crate::context::Context;
use crate::failure::{Exit, Failure};

/// Checks what a task needs that reads or changes passwords.
///
/// # Errors
/// Exit 2 if the master user's secret is not the stack's, or a name was changed that AWS fixes.
pub fn check(context: &Context, inventory: &Inventory) -> Result<(), Failure> {
    let stack = &*context.stack;
    let master = stack.master_secret_name();
    match mismatch::foreign(inventory).find(|secret| secret.name == master) {
        Some(secret) => Err(foreign(stack, inventory, secret)),
        None => match mismatch::find(stack, inventory) {
            Some(found) => {
                let text = format!("{}; nothing was changed", found.sentence);
                Err(Failure::new(Exit::Usage, anyhow::Error::msg(text)).hint(found.hint()))
            }
            None => Ok(()),
        },
    }
}

/// As [`check`], and no secret that a tenant's role needs may be somebody else's: before a stack is built that its tenants
/// could not be made in.
///
/// # Errors
/// Exit 2.
pub fn check_all(context: &Context, inventory: &Inventory) -> Result<(), Failure> {
    check(context, inventory)?;
    match mismatch::foreign(inventory).next() {
        Some(secret) => Err(foreign(&context.stack, inventory, secret)),
        None => Ok(()),
    }
}

/// Warns of what differs from the stack file and is worked around.
pub fn warn(context: &Context, inventory: &Inventory) {
    for advice in stack::plan::advice(&context.stack, inventory) {
        context.events.warn(advice);
    }
}

fn foreign(stack: &Stack, inventory: &Inventory, secret: &SecretEntry) -> Failure {
    let failure = Failure::from(aws::Error::Foreign { what: "secret", name: secret.name.clone() });
    let failure = match &secret.owner {
        Some(owner) => failure.hint(format!("it carries the tag of stack `{}`", owner.escape_debug())),
        None => failure,
    };
    // Its own is elsewhere: then this is a changed name as well.
    match mismatch::find(stack, inventory) {
        Some(found) => failure.hint(format!("{}: {}", found.sentence, found.hint())),
        None => failure,
    }
}
