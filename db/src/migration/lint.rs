//! What migrations would do to a live table: rules over their statements, without a server.
//!
//! Only what stands in the file is judged: neither the bodies of functions and `DO` blocks, nor views, nor the size
//! of a table. A table that an earlier statement of the same set creates is nobody's yet, and exempt.

mod alter;
mod comment;
mod phrase;
mod report;
mod rule;
mod set;
mod statement;

use crate::Migration;

pub use self::report::Finding;
pub use self::rule::{RULES, Rule, Severity};

/// Returns what is wrong with migrations that are applied together, in the order of files and lines.
///
/// What one of them creates is new to those after it: give each file alone to have it judged against a database that
/// has everything before it already.
pub fn check(set: &[Migration]) -> Vec<Finding> {
    let mut state = set::State::default();
    set.iter().flat_map(|migration| statement::check(migration, &mut state)).collect()
}
