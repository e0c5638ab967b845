//! What a teardown can prove: each thing that is gone with the call that showed it, and each that is not.
//!
//! It fails closed. What no call has shown to be absent is left, and a list that could not be read is never empty.

use serde::Serialize;

use crate::plan::{Action, Plan, Step};
use crate::resource::Resource;

/// The account of a teardown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Receipt {
    /// The stack's name.
    pub stack: String,
    /// The account's twelve digits.
    pub account: String,
    /// The region.
    pub region: String,
    /// When it began, RFC 3339.
    pub began_at: String,
    /// When the last look ended, RFC 3339.
    pub ended_at: String,
    /// What became of it.
    pub verdict: Verdict,
    /// What is gone, in the order in which it was proved.
    pub gone: Vec<Gone>,
    /// What stays because it was asked to.
    pub kept: Vec<Kept>,
    /// What is still there, or not proved to be gone.
    pub left: Vec<Left>,
    /// What could not be seen, so that nothing is said about it.
    pub unseen: Vec<Unseen>,
}

/// What became of a teardown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// All that was to go is proved to be gone.
    Gone,
    /// Something is left.
    Left,
    /// Nothing is known to be left, but not everything could be seen.
    Unproved,
}

/// Something that is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gone {
    /// What it was: `public subnet`.
    pub kind: String,
    /// Its id or name.
    pub id: String,
    /// When that was proved, RFC 3339.
    pub at: String,
    /// The call that proved it: `ec2:DescribeSubnets`.
    pub call: String,
    /// What the call answered: an error's code, a state, or `none`.
    pub answer: String,
}

/// Something that stays because it was asked to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Kept {
    /// What it is: `secret`, `snapshot`.
    pub kind: String,
    /// Its id or name.
    pub id: String,
    /// Why it stays, and its state.
    pub why: String,
    /// What removes it.
    pub command: String,
}

/// Something that is still there, or not proved to be gone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Left {
    /// What it is.
    pub kind: String,
    /// Its id or name.
    pub id: String,
    /// How we know that it belongs to the stack and its state, or why it could not be deleted.
    pub why: String,
    /// What holds it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blockers: Vec<Blocker>,
    /// What to type, where that is known and not simply `down` again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

/// Something that is not the stack's and keeps a part of it from being deleted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Blocker {
    /// What it is: `network interface`.
    pub kind: String,
    /// Its id or name.
    pub id: String,
    /// Whose it is: an account, or the service that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// What it does there, for people.
    pub detail: String,
    /// What to type to be rid of it; look at it first.
    pub command: String,
}

/// A look that failed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Unseen {
    /// What was to be seen: `subnets`.
    pub what: String,
    /// The call: `ec2:DescribeSubnets`.
    pub call: String,
    /// Why it failed.
    pub why: String,
}

/// What a last look at the account found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// What is there although nothing should be.
    pub left: Vec<Left>,
    /// The lists that failed.
    pub unseen: Vec<Unseen>,
}

/// What was seen while a plan was carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// What is gone.
    pub gone: Vec<Gone>,
    /// What stays because it was asked to.
    pub kept: Vec<Kept>,
    /// The steps that failed, and those that could not begin because of them.
    pub left: Vec<Left>,
    /// What could not be seen.
    pub unseen: Vec<Unseen>,
}

/// Whose teardown it was, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The stack's name.
    pub stack: String,
    /// The account's twelve digits.
    pub account: String,
    /// The region.
    pub region: String,
    /// When it began, RFC 3339.
    pub began_at: String,
    /// When the last look ended, RFC 3339.
    pub ended_at: String,
}

impl Blocker {
    /// Renders it for people: kind, id, what it does, whose it is.
    pub fn render(&self) -> String {
        let owner = self.owner.as_ref().map(|owner| format!(", owner {owner}")).unwrap_or_default();
        format!("{} {} {}{owner}", self.kind, self.id, self.detail)
    }
}

impl Audit {
    /// Tells whether everything could be seen and nothing is there.
    pub fn is_clean(&self) -> bool {
        self.left.is_empty() && self.unseen.is_empty()
    }
}

impl Receipt {
    /// Returns what can be said of a plan after it was carried out and looked at.
    ///
    /// A thing that the last look has found is not gone, whatever was seen before; and one of the plan that is nowhere
    /// in the evidence is left.
    pub fn new(head: Head, plan: &Plan, evidence: Evidence, audit: Audit) -> Receipt {
        let Evidence { mut gone, mut kept, mut left, unseen: mut blind } = evidence;
        let is_kept = |id: &str, kept: &[Kept]| kept.iter().any(|one| one.id == id);
        for found in audit.left {
            // An instance profile and its role have one name.
            gone.retain(|one| one.id != found.id || !is_same_kind(&one.kind, &found.kind));
            let known = left.iter().any(|one| one.id == found.id && is_same_kind(&one.kind, &found.kind));
            if !known && !is_kept(&found.id, &kept) {
                left.push(found);
            }
        }
        for step in plan.steps.iter().filter(|step| is_thing(step)) {
            let Action::Delete { id } = &step.action else { continue };
            let is_it = |kind: &str, other: &str| other == id && is_same_kind(kind, step.subject());
            let is_told = gone.iter().any(|one| is_it(&one.kind, &one.id))
                || left.iter().any(|one| is_it(&one.kind, &one.id))
                || is_kept(id, &kept);
            if !is_told {
                let why = "no call has shown that it is gone".to_owned();
                left.push(Left {
                    kind: step.subject().to_owned(),
                    id: id.clone(),
                    why,
                    blockers: Vec::new(),
                    command: None,
                });
            }
        }
        blind.extend(audit.unseen);
        blind.sort();
        blind.dedup();
        kept.sort();
        left.sort();
        let verdict = match (left.is_empty(), blind.is_empty()) {
            (true, true) => Verdict::Gone,
            (false, _) => Verdict::Left,
            (true, false) => Verdict::Unproved,
        };
        let Head { stack, account, region, began_at, ended_at } = head;
        Receipt { stack, account, region, began_at, ended_at, verdict, gone, kept, left, unseen: blind }
    }
}

/// Tells whether a step is about something with an id of its own; rules go with their group.
pub fn is_thing(step: &Step) -> bool {
    !matches!(step.resource, Resource::BastionRules | Resource::DatabaseRules)
}

/// The last look speaks of `subnet` where a step speaks of `private subnet a`; and a role, its profile and a database may
/// share a name.
fn is_same_kind(one: &str, other: &str) -> bool {
    family(one) == family(other)
}

/// Returns what a kind is called without what tells it from others of its kind.
fn family(kind: &str) -> &str {
    // The longer before what they contain.
    const FAMILIES: [&str; 11] = [
        "profile",
        "role",
        "subnet group",
        "security group",
        "topic",
        "alarm",
        "secret",
        "route table",
        "subnet",
        "log group",
        "snapshot",
    ];
    match FAMILIES.into_iter().find(|family| kind.contains(family)) {
        Some(family) => family,
        None if kind == "bastion" => "instance",
        None => kind,
    }
}
