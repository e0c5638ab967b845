//! What the two security groups let through, and nothing else.

use super::up::Verdict;
use crate::inventory::{Direction, Inventory, Peer, Rule, SecurityGroup};
use crate::resource::Resource;
use crate::spec::Stack;

/// Returns the rules of the bastion's group: nothing in; out to Systems Manager and to the database.
pub fn bastion_rules(stack: &Stack, _bastion_group_id: &str, database_group_id: &str) -> Vec<Rule> {
    vec![
        tcp(Direction::Egress, 443, Peer::Cidr("0.0.0.0/0".to_owned())),
        tcp(Direction::Egress, stack.database.port, Peer::Group(database_group_id.to_owned())),
    ]
}

/// Returns the rules of the database's group: in from the bastion; nothing out.
pub fn database_rules(stack: &Stack, bastion_group_id: &str, _database_group_id: &str) -> Vec<Rule> {
    vec![tcp(Direction::Ingress, stack.database.port, Peer::Group(bastion_group_id.to_owned()))]
}

/// Returns what is to be done about the rules of either group.
pub(super) fn judge(stack: &Stack, inventory: &Inventory, resource: Resource) -> Verdict {
    let bastion = inventory.group(Resource::BastionGroup.tag());
    let database = inventory.group(Resource::DatabaseGroup.tag());
    // A group that is yet to be made has no id; no rule can name it so far.
    let id = |group: Option<&SecurityGroup>| group.map_or_else(String::new, |group| group.id.clone());
    let (group, want) = if resource == Resource::BastionRules {
        (bastion, bastion_rules(stack, &id(bastion), &id(database)))
    } else {
        (database, database_rules(stack, &id(bastion), &id(database)))
    };
    let have = group.map_or(&[][..], |group| &group.rules);
    if want.iter().all(|rule| have.contains(rule)) && have.iter().all(|rule| want.contains(rule)) {
        return Verdict::Fine;
    }
    let words = |rule: &Rule| match &rule.peer {
        Peer::Group(peer) if *peer == id(bastion) => phrase(rule, "the bastion's group"),
        Peer::Group(peer) if *peer == id(database) => phrase(rule, "the database's group"),
        Peer::Group(peer) | Peer::PrefixList(peer) | Peer::Cidr(peer) | Peer::Ipv6(peer) => {
            phrase(rule, peer)
        }
    };
    if have.iter().all(is_default) {
        let rules: Vec<String> = want.iter().map(words).collect();
        return Verdict::Create(rules.join(", "));
    }
    let closing = have
        .iter()
        .filter(|rule| !want.contains(rule))
        .map(|r| format!("{} is open and will be closed", words(r)));
    let opening = want
        .iter()
        .filter(|rule| !have.contains(rule))
        .map(|r| format!("{} is closed and will be opened", words(r)));
    Verdict::Repair(closing.chain(opening).collect::<Vec<_>>().join("; "))
}

/// Tells whether AWS put the rule there itself, as it does in every new group.
fn is_default(rule: &Rule) -> bool {
    rule.direction == Direction::Egress
        && rule.protocol == "-1"
        && matches!(&rule.peer, Peer::Cidr(range) if range == "0.0.0.0/0")
}

fn tcp(direction: Direction, port: u16, peer: Peer) -> Rule {
    Rule { direction, protocol: "tcp".to_owned(), ports: Some((port, port)), peer }
}

fn phrase(rule: &Rule, peer: &str) -> String {
    let protocol = if rule.protocol == "-1" { "any protocol" } else { rule.protocol.as_str() };
    let way = match rule.direction {
        Direction::Ingress => "from",
        Direction::Egress => "to",
    };
    match rule.ports {
        Some((first, last)) if first == last => format!("{first}/{protocol} {way} {peer}"),
        Some((first, last)) => format!("{first}-{last}/{protocol} {way} {peer}"),
        None => format!("{protocol} {way} {peer}"),
    }
}
