//! The IAM policy that a task needs: no action more, on the stack's own parts alone.
//!
//! What the tasks call is known from the sandbox's journal; a test runs each task and fails unless [`Task::actions`] is
//! what [`implied_by`] the calls. A new call is a new line in `policy/table.rs`.

mod clause;
mod table;
mod task;

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use self::clause::{Clause, Place};
use self::table::{Grant, TABLE};
pub use self::task::Task;
use crate::spec::Stack;

/// The most characters of a managed policy, white space not counted.
///
/// Source: IAM's user guide, "IAM and AWS STS quotas".
pub const MANAGED_POLICY_LIMIT: usize = 6144;

impl Task {
    /// Returns the actions that the task's policy allows.
    pub fn actions(self) -> BTreeSet<&'static str> {
        TABLE.iter().filter(|grant| grant.tasks.contains(&self)).map(|grant| grant.action).collect()
    }
}

/// Returns the actions that IAM asks for when these calls (`ec2:RunInstances`) are made, whatever the task.
///
/// # Errors
/// The calls that the table does not know.
pub fn implied_by<'a>(
    calls: impl IntoIterator<Item = &'a str>,
) -> Result<BTreeSet<&'static str>, Vec<&'a str>> {
    let mut actions = BTreeSet::new();
    let mut unknown = Vec::new();
    for call in calls {
        let asked: Vec<&Grant> = TABLE.iter().filter(|grant| grant.is_asked_for_at(call)).collect();
        if asked.is_empty() && !table::FREE.contains(&call) {
            unknown.push(call);
        }
        actions.extend(asked.into_iter().map(|grant| grant.action));
    }
    if unknown.is_empty() { Ok(actions) } else { Err(unknown) }
}

/// A policy document, in IAM's own form.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Policy {
    /// The version of IAM's language.
    pub version: &'static str,
    /// What is allowed.
    pub statement: Vec<Statement>,
}

/// Actions that are allowed on the same things under the same conditions.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Statement {
    /// What the statement is about.
    pub sid: &'static str,
    /// `Allow`; nothing is ever denied.
    pub effect: &'static str,
    /// The actions.
    pub action: Vec<&'static str>,
    /// The ARNs, with `*` for what is not known before it exists.
    pub resource: Vec<String>,
    /// The conditions, in IAM's form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<Value>,
}

impl Policy {
    /// Returns its length as IAM counts it: the characters without white space.
    pub fn length(&self) -> usize {
        serde_json::to_string(self).map_or(usize::MAX, |text| text.len())
    }

    /// Returns the policy in as few managed policies as it fits into: one, unless the stack's names are very long.
    pub fn split(self) -> Vec<Policy> {
        let mut parts: Vec<Policy> = Vec::new();
        for statement in self.statement {
            if let Some(part) = parts.last_mut() {
                part.statement.push(statement);
                if part.length() <= MANAGED_POLICY_LIMIT {
                    continue;
                }
                let moved: Vec<Statement> = part.statement.pop().into_iter().collect();
                parts.push(Policy { version: self.version, statement: moved });
            } else {
                parts.push(Policy { version: self.version, statement: vec![statement] });
            }
        }
        parts
    }
}

/// Returns the policy that the task needs on this stack; without an account it says `*` in its place.
pub fn of(stack: &Stack, account: Option<&str>, task: Task) -> Policy {
    let place = Place::new(stack, account);
    let statement = |clause: Clause| {
        let granted = TABLE.iter().filter(|grant| grant.clause == clause && grant.tasks.contains(&task));
        let action: Vec<&str> = granted.map(|grant| grant.action).collect();
        (!action.is_empty()).then(|| Statement {
            sid: clause.sid(),
            effect: "Allow",
            action,
            resource: clause.resources(&place),
            condition: clause.condition(&place),
        })
    };
    Policy { version: "2012-10-17", statement: Clause::ALL.into_iter().filter_map(statement).collect() }
}
