//! The port that the database listens on.

use std::borrow::Cow;

use crate::inventory::Inventory;
use crate::spec::Stack;

/// Returns the stack with the port that its database listens on. The stack file's is for one that is yet to be made: rules
/// for another port than the database's would let nobody in, whatever the file says.
pub fn at_its_port<'a>(stack: &'a Stack, inventory: &Inventory) -> Cow<'a, Stack> {
    let database = inventory.database.as_ref().filter(|database| database.status != "deleting");
    match database.and_then(|database| database.endpoint.as_ref()) {
        Some((_, port)) if *port != stack.database.port => {
            let mut stack = stack.clone();
            stack.database.port = *port;
            Cow::Owned(stack)
        }
        Some(_) | None => Cow::Borrowed(stack),
    }
}
