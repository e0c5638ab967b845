//! A rule or a group that the stack file does not state.

use std::fmt;

use serde::Serialize;

use crate::inventory::Rule;
use crate::resource::Resource;

/// A rule, or the membership in a group, that the stack file does not state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unknown {
    /// What it belongs to: either group's rules, the database or the bastion.
    pub resource: Resource,
    /// The id of the group that has the rule; of the database or the bastion that is in the group.
    pub id: String,
    /// The rule, or the group.
    pub what: Stranger,
    /// An earlier `up` made it from a line that the stack file does not have any more.
    pub is_ours: bool,
    /// It lets anybody in to the database, or somebody in to the bastion.
    pub too_open: bool,
    /// The same for people: `5432/tcp from sg-1 in the database's group sg-2`.
    pub text: String,
}

/// What is not stated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stranger {
    /// A rule of one of the stack's groups.
    Rule(Rule),
    /// The id of a group that is not the stack's.
    Group(String),
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match (&self.what, self.is_ours) {
            (Stranger::Rule(_), true) => "rule that is not stated any more",
            (Stranger::Rule(_), false) => "unknown rule",
            (Stranger::Group(_), _) => "unknown group",
        };
        write!(f, "{kind}: {}", self.text)
    }
}

impl Unknown {
    /// Returns the group, if it is one that the thing with this id is in.
    pub fn group_of(&self, resource: Resource, id: &str) -> Option<&str> {
        match &self.what {
            Stranger::Group(group) if self.resource == resource && self.id == id => Some(group),
            Stranger::Group(_) | Stranger::Rule(_) => None,
        }
    }

    /// Returns the rule, if it is one of the group with this id.
    pub fn rule_of(&self, id: &str) -> Option<&Rule> {
        match &self.what {
            Stranger::Rule(rule) if self.id == id => Some(rule),
            Stranger::Rule(_) | Stranger::Group(_) => None,
        }
    }
}
