//! What works and what does not between whoever asks and the database, link by link, from what was seen alone.
//!
//! Architecture invariant: a link passes only on evidence. What could not be seen is unknown, and never passes.

mod agent;
mod database;
mod facts;
mod filter;
mod link;
mod network;
mod session;

pub use self::agent::{is_asleep, next_try};
pub use self::facts::{Caller, Decision, Fact, Facts, Listing, SessionTry};
pub use self::link::{Diagnosis, Judgement, Link, Verdict};
use crate::spec::Stack;

/// The name of the link that needs all before it.
pub const AGENT: &str = "agent";

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
