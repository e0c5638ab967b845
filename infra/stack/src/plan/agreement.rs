//! Whether a plan is the one that somebody agreed to: what exists may have changed since.

use super::{Action, Plan, Step};

impl Plan {
    /// Tells whether this does what `agreed` does. How far something is on its way makes no other plan.
    pub fn is_as_agreed(&self, agreed: &Plan) -> bool {
        self.steps.len() == agreed.steps.len()
            && self.closes == agreed.closes
            && self.steps.iter().all(|step| agreed.has(step))
    }

    /// Returns what this deletes, or replaces, and `agreed` does not.
    pub fn surprises(&self, agreed: &Plan) -> Vec<&Step> {
        let deletes = |step: &&Step| matches!(step.action, Action::Delete { .. });
        self.steps.iter().filter(deletes).filter(|step| !agreed.has(step)).collect()
    }

    fn has(&self, step: &Step) -> bool {
        self.steps.iter().any(|other| {
            other.resource == step.resource
                && other.action == step.action
                && match step.action {
                    Action::Create | Action::Repair => other.detail == step.detail,
                    // An id says which one it is, and how it is today may be different tomorrow.
                    Action::Start | Action::Wait | Action::Restore { .. } | Action::Delete { .. } => true,
                }
        })
    }
}
