//! How far to look, and how a failed look is reported.

use std::collections::BTreeMap;

use stack::diagnosis::{Fact, Listing};

use crate::Error;
use crate::error::one_line;

/// How far to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// What the bastion's agent needs.
    Bastion,
    /// Everything, with an attempt to start a session, which is ended at once.
    Session,
}

/// Returns the list. One that could not be read is empty, and its error is added to `unseen`.
pub(super) fn kept<T: Default>(
    unseen: &mut BTreeMap<Listing, String>,
    listing: Listing,
    result: Result<T, Error>,
) -> T {
    result.unwrap_or_else(|error| {
        unseen.insert(listing, one_line(&error));
        T::default()
    })
}

/// Returns what was seen, or why not.
pub(super) fn fact<T>(result: Result<T, Error>) -> Fact<T> {
    match result {
        Ok(seen) => Fact::Known(seen),
        Err(error) => Fact::Unknown(one_line(&error)),
    }
}
