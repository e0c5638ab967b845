//! Who changes the stack.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A lock on the stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lock {
    /// Its parameter's name.
    pub name: String,
    /// The last part of the name: one more than the dead locks' before it.
    pub number: u64,
    /// Who holds it; `None` if that cannot be read.
    pub holder: Option<Holder>,
    /// How often it was written, which a living holder does again and again.
    pub version: i64,
}

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// What it does: `up`.
    pub task: String,
    /// Whose program it is: user and machine.
    pub by: String,
    /// Its process id there.
    pub process: u32,
    /// Tells this program on this machine from all others.
    pub program: String,
    /// Tells this run of the program from its others.
    pub token: String,
    /// The tokens of the dead whose locks were there.
    pub displaced: Vec<String>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` of {}, process {}", self.task, self.by, self.process)
    }
}
