//! What works and what does not between whoever asks and the database, link by link, from what was seen alone.
//!
//! Architecture invariant: a link passes only on evidence. What could not be seen is unknown, and never passes.

mod agent;
mod database;
mod facts;
mod network;
mod session;

use serde::Serialize;

pub use self::agent::{is_asleep, next_try};
pub use self::facts::{Caller, Decision, Fact, Facts, Listing, SessionTry};
use crate::finding::{self, Finding};
use crate::spec::Stack;

/// The name of the link that needs all before it.
pub const AGENT: &str = "agent";

/// What is known of one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It was seen to be in order.
    Pass,
    /// It was seen to be broken.
    Fail,
    /// It could not be seen.
    Unknown,
    /// It was not tried, as an earlier link does not hold.
    Skipped,
}

/// One link of the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Link {
    /// A word or two: `public address`.
    pub name: &'static str,
    /// What is known of it.
    pub verdict: Verdict,
    /// The kind of reason, if it is broken.
    pub cause: Option<finding::Cause>,
    /// What is so, in one sentence without a full stop.
    pub sentence: String,
    /// What was seen that proves it.
    pub evidence: String,
    /// What mends it, if it is broken.
    pub command: Option<String>,
}

/// The chain, the most basic link first: of all that is broken, the first is the root cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// Its links.
    pub links: Vec<Link>,
}

/// What looking at one link came to.
#[derive(Clone, Debug)]
pub enum Judgement {
    /// In order; what was seen.
    Pass(String),
    /// Broken.
    Fail(Finding),
    /// Not to be seen; why.
    Unknown(String),
    /// Not tried; why.
    Skipped(String),
}

impl From<Finding> for Judgement {
    fn from(finding: Finding) -> Judgement {
        Judgement::Fail(finding)
    }
}

impl Link {
    /// Returns the link of that name as it was judged.
    pub fn new(name: &'static str, judgement: Judgement) -> Link {
        let link = |verdict, sentence: String, evidence| Link {
            name,
            verdict,
            cause: None,
            sentence,
            evidence,
            command: None,
        };
        match judgement {
            Judgement::Pass(evidence) => link(Verdict::Pass, format!("{name}: in order"), evidence),
            Judgement::Unknown(why) => {
                link(Verdict::Unknown, format!("it is not known whether {name} is in order"), why)
            }
            Judgement::Skipped(why) => link(Verdict::Skipped, format!("{name}: not tried"), why),
            Judgement::Fail(finding) => Link {
                cause: Some(finding.cause),
                command: Some(finding.command),
                ..link(Verdict::Fail, finding.sentence, finding.evidence)
            },
        }
    }
}

impl Diagnosis {
    /// Returns the root cause: the first broken link, else the first that could not be seen.
    pub fn root(&self) -> Option<&Link> {
        let first = |verdict| self.links.iter().find(|link| link.verdict == verdict);
        first(Verdict::Fail).or_else(|| first(Verdict::Unknown)).or_else(|| first(Verdict::Skipped))
    }

    /// Tells whether every link was seen to be in order.
    pub fn is_healthy(&self) -> bool {
        self.links.iter().all(|link| link.verdict == Verdict::Pass)
    }

    /// Returns what is broken, the root cause first.
    pub fn findings(&self) -> Vec<Finding> {
        let finding = |link: &Link| {
            let (sentence, evidence) = (link.sentence.clone(), link.evidence.clone());
            Some(Finding { cause: link.cause?, sentence, evidence, command: link.command.clone()? })
        };
        self.links.iter().filter_map(finding).collect()
    }
}

/// Judges every link up to the database's rules and secret. Only a connection can show what lies behind.
pub fn diagnose(stack: &Stack, facts: &Facts) -> Diagnosis {
    let mut diagnosis = bastion(stack, facts);
    let mut add = |name, judgement| diagnosis.links.push(Link::new(name, judgement));
    add("permission", session::permission(stack, facts));
    add("session", session::session(facts));
    add("database", database::database(stack, facts));
    add("database rules", database::rules(stack, facts));
    add("database network ACL", database::acl(stack, facts));
    add("secret", database::secret(stack, facts));
    diagnosis
}

/// Judges who else is let in to the database and to the bastion; that breaks no link.
pub fn exposure(stack: &Stack, facts: &Facts) -> Link {
    Link::new("who else is let in", database::exposure(stack, facts))
}

/// Judges what the bastion's agent needs, and the agent.
pub fn bastion(stack: &Stack, facts: &Facts) -> Diagnosis {
    let mut links = Vec::new();
    let mut add = |name, judgement| links.push(Link::new(name, judgement));
    add("account", network::account(facts));
    add("instance", network::instance(stack, facts));
    add("public address", network::address(facts));
    add("internet gateway", network::gateway(facts));
    add("route", network::route(facts));
    add("network ACL", network::acl(facts));
    add("egress", network::egress(facts));
    add("names and endpoints", network::endpoints(facts));
    add("instance profile", network::profile(stack, facts));
    add("role", network::role(stack, facts));
    add("console", agent::console(facts));
    let before = Diagnosis { links };
    let agent = Link::new(AGENT, agent::agent(facts, &before));
    let mut links = before.links;
    links.push(agent);
    Diagnosis { links }
}
