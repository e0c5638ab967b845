//! What the two security groups let through.

use super::unknown::{Stranger, Unknown};
use super::verdict::Verdict;
use crate::inventory::{Direction, Inventory, Peer, Rule, SecurityGroup};
use crate::resource::Resource;
use crate::spec::Stack;

/// Who is on the other side of a rule that is to be; of a group that is yet to be made no rule can have the id.
enum Side {
    BastionGroup,
    DatabaseGroup,
    Peer(Peer),
}

/// Returns the rules of the bastion's group: nothing in; out to Systems Manager and to the database.
pub fn bastion_rules(stack: &Stack, bastion_group_id: &str, database_group_id: &str) -> Vec<Rule> {
    resolved(stack, Resource::BastionRules, bastion_group_id, database_group_id)
}

/// Returns the rules of the database's group: in from the bastion and from whom the stack file allows, in this order;
/// nothing out.
pub fn database_rules(stack: &Stack, bastion_group_id: &str, database_group_id: &str) -> Vec<Rule> {
    resolved(stack, Resource::DatabaseRules, bastion_group_id, database_group_id)
}

fn resolved(stack: &Stack, resource: Resource, bastion: &str, database: &str) -> Vec<Rule> {
    let rule = |want| rule(stack, want, Some(bastion), Some(database));
    wanted(stack, resource).into_iter().filter_map(rule).collect()
}

fn wanted(stack: &Stack, resource: Resource) -> Vec<(Direction, u16, Side)> {
    let port = stack.database.port;
    if resource == Resource::BastionRules {
        let everywhere = Side::Peer(Peer::Cidr("0.0.0.0/0".to_owned()));
        return vec![(Direction::Egress, 443, everywhere), (Direction::Egress, port, Side::DatabaseGroup)];
    }
    let groups = stack.database.allow_groups.iter().map(|id| Peer::Group(id.clone()));
    let ranges = stack.database.allow_cidrs.iter().map(|range| Peer::Cidr(range.to_string()));
    let allowed = groups.chain(ranges).map(|peer| (Direction::Ingress, port, Side::Peer(peer)));
    std::iter::once((Direction::Ingress, port, Side::BastionGroup)).chain(allowed).collect()
}

/// Returns the rule, unless it names a group that is not there yet.
fn rule(
    stack: &Stack,
    (direction, port, side): (Direction, u16, Side),
    bastion: Option<&str>,
    database: Option<&str>,
) -> Option<Rule> {
    let peer = match side {
        Side::BastionGroup => Peer::Group(bastion?.to_owned()),
        Side::DatabaseGroup => Peer::Group(database?.to_owned()),
        Side::Peer(peer) => peer,
    };
    let description = Some(mark(stack));
    Some(Rule { direction, protocol: "tcp".to_owned(), ports: Some((port, port)), peer, description })
}

/// What is written beside each rule that we make: without a state file it is how we know one that the stack file does
/// not state any more.
fn mark(stack: &Stack) -> String {
    format!("drawbridge stack {}", stack.name)
}

pub(super) fn is_marked(stack: &Stack, rule: &Rule) -> bool {
    rule.description.as_deref() == Some(mark(stack).as_str())
}

/// Returns the stack's group that such rules are of.
pub(super) fn group_of(inventory: &Inventory, resource: Resource) -> Option<&SecurityGroup> {
    let is_bastion = resource == Resource::BastionRules;
    let group = if is_bastion { Resource::BastionGroup } else { Resource::DatabaseGroup };
    inventory.group(group.tag())
}

/// Returns the rules that are to be, each in words; nothing in the place of one that names a group which is not there yet.
fn wants(stack: &Stack, inventory: &Inventory, resource: Resource) -> Vec<(Option<Rule>, String)> {
    let id = |group: Resource| inventory.group(group.tag()).map(|group| group.id.as_str());
    let (bastion, database) = (id(Resource::BastionGroup), id(Resource::DatabaseGroup));
    let want = |(direction, port, side): (Direction, u16, Side)| {
        let peer = match &side {
            Side::BastionGroup => "the bastion's group",
            Side::DatabaseGroup => "the database's group",
            Side::Peer(peer) => text(peer),
        };
        let words = phrase(direction, "tcp", Some((port, port)), peer);
        (rule(stack, (direction, port, side), bastion, database), words)
    };
    wanted(stack, resource).into_iter().map(want).collect()
}

/// Returns the rules that AWS put into a group which nobody has given its own rules yet; they are ours to take away.
///
/// In a group that has one of its own rules, such a rule is somebody's: we take AWS's away before we add ours.
pub fn leftover_defaults(have: &[Rule], want: &[Rule]) -> Vec<Rule> {
    let is_begun = have.iter().any(|rule| want.contains(rule));
    have.iter().filter(|rule| !is_begun && is_default(rule)).cloned().collect()
}

/// Returns the rules of the group that are not to be, but for AWS's own in a new group.
pub(super) fn strangers<'a>(stack: &Stack, inventory: &'a Inventory, resource: Resource) -> Vec<&'a Rule> {
    let Some(group) = group_of(inventory, resource) else { return Vec::new() };
    let want: Vec<Rule> =
        wants(stack, inventory, resource).into_iter().filter_map(|(rule, _)| rule).collect();
    let defaults = leftover_defaults(&group.rules, &want);
    group.rules.iter().filter(|rule| !want.contains(rule) && !defaults.contains(rule)).collect()
}

/// Returns what is to be done about the rules of either group, and about those of the unknown that are to be closed.
pub(super) fn judge(stack: &Stack, inventory: &Inventory, resource: Resource, closes: &[Unknown]) -> Verdict {
    let have = group_of(inventory, resource).map_or(&[][..], |group| &group.rules);
    let wants = wants(stack, inventory, resource);
    let want: Vec<Rule> = wants.iter().filter_map(|(rule, _)| rule.clone()).collect();
    if have.iter().all(is_default) && !have.iter().any(|rule| want.contains(rule)) {
        let words: Vec<String> = wants.into_iter().map(|(_, words)| words).collect();
        return Verdict::Create(words.join(", "));
    }
    let confirmed = closes.iter().filter(|one| one.resource == resource).filter_map(|one| match &one.what {
        Stranger::Rule(rule) => Some(rule.clone()),
        Stranger::Group(_) => None,
    });
    let closing = leftover_defaults(have, &want).into_iter().chain(confirmed);
    let closing = closing.map(|rule| format!("{} is open and will be closed", words(inventory, &rule)));
    let is_missing =
        |(rule, _): &(Option<Rule>, String)| !rule.as_ref().is_some_and(|rule| have.contains(rule));
    let opening = wants.iter().filter(|want| is_missing(want));
    let opening = opening.map(|(_, words)| format!("{words} is closed and will be opened"));
    let wrong: Vec<String> = closing.chain(opening).collect();
    if wrong.is_empty() { Verdict::Fine } else { Verdict::Repair(wrong.join("; ")) }
}

/// Tells whether AWS put the rule there itself, as it does in every new group.
fn is_default(rule: &Rule) -> bool {
    rule.direction == Direction::Egress
        && rule.protocol == "-1"
        && rule.description.is_none()
        && match &rule.peer {
            Peer::Cidr(range) => range == "0.0.0.0/0",
            Peer::Ipv6(range) => range == "::/0",
            Peer::Group(_) | Peer::PrefixList(_) => false,
        }
}

/// Returns a rule for people; the stack's own groups by their parts.
pub(super) fn words(inventory: &Inventory, rule: &Rule) -> String {
    let is = |group: Resource| {
        inventory
            .group(group.tag())
            .is_some_and(|group| matches!(&rule.peer, Peer::Group(id) if *id == group.id))
    };
    let peer = if is(Resource::BastionGroup) {
        "the bastion's group"
    } else if is(Resource::DatabaseGroup) {
        "the database's group"
    } else {
        text(&rule.peer)
    };
    phrase(rule.direction, &rule.protocol, rule.ports, peer)
}

fn text(peer: &Peer) -> &str {
    let (Peer::Group(text) | Peer::PrefixList(text) | Peer::Cidr(text) | Peer::Ipv6(text)) = peer;
    text
}

fn phrase(direction: Direction, protocol: &str, ports: Option<(u16, u16)>, peer: &str) -> String {
    let protocol = if protocol == "-1" { "any protocol" } else { protocol };
    let way = match direction {
        Direction::Ingress => "from",
        Direction::Egress => "to",
    };
    match ports {
        Some((first, last)) if first == last => format!("{first}/{protocol} {way} {peer}"),
        Some((first, last)) => format!("{first}-{last}/{protocol} {way} {peer}"),
        None => format!("{protocol} {way} {peer}"),
    }
}
