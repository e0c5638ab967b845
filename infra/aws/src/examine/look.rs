//! How far an examination looks, and what is left of a look that failed.

use std::collections::BTreeMap;

use stack::diagnosis::{Fact, Listing};

use crate::Error;
use crate::error::one_line;

/// How far to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// What the bastion's agent needs.
    Bastion,
    /// All of it, with an attempt to start a session, which is ended at once.
    Session,
}

/// Returns the list; one that could not be had is empty, and noted down as such.
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
