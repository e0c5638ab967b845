//! Finds what lets traffic through although it is neither the stack's nor stated in its file. It is reported, and stays unless
//! the user confirms its removal.

use super::port::at_its_port;
use super::rules;
use super::unknown::{Stranger, Unknown};
use crate::inventory::{Direction, Inventory, Peer, Rule, SecurityGroup};
use crate::resource::Resource;
use crate::spec::{Cidr, Stack};

/// Returns what lets traffic through, to the database or through the bastion's groups, without being stated.
pub fn unknown(stack: &Stack, inventory: &Inventory) -> Vec<Unknown> {
    let stack = &*at_its_port(stack, inventory);
    let mut found = Vec::new();
    for resource in [Resource::BastionRules, Resource::DatabaseRules] {
        found.extend(rules::strangers(stack, inventory, resource).into_iter().map(|rule| {
            let group =
                rules::group_of(inventory, resource).map(|group| group.id.clone()).unwrap_or_default();
            let description =
                rule.description.as_ref().map(|text| format!(" ({text:?})")).unwrap_or_default();
            let part = if resource == Resource::BastionRules { "bastion" } else { "database" };
            let text =
                format!("{} in the {part}'s group {group}{description}", rules::words(inventory, rule));
            Unknown {
                resource,
                id: group,
                what: Stranger::Rule(rule.clone()),
                is_ours: rules::is_marked(stack, rule),
                too_open: is_too_open(resource, rule),
                text,
            }
        }));
    }
    let own = inventory.group(Resource::DatabaseGroup.tag());
    if let Some(database) = inventory.database.as_ref().filter(|database| database.status != "deleting") {
        let of = (Resource::Database, Resource::DatabaseRules, database.identifier.as_str());
        found.extend(memberships(inventory, of, &database.groups, own));
    }
    if let Some(bastion) = inventory.bastion() {
        let own = inventory.group(Resource::BastionGroup.tag());
        let of = (Resource::Instance, Resource::BastionRules, bastion.id.as_str());
        found.extend(memberships(inventory, of, &bastion.groups, own));
    }
    found
}

/// Returns those that an earlier `up` made: with them goes what a line made that somebody took out of the stack file.
pub fn obsolete(stack: &Stack, inventory: &Inventory) -> Vec<Unknown> {
    unknown(stack, inventory).into_iter().filter(|one| one.is_ours).collect()
}

fn memberships(
    inventory: &Inventory,
    (resource, rules, id): (Resource, Resource, &str),
    groups: &[String],
    own: Option<&SecurityGroup>,
) -> Vec<Unknown> {
    let others = groups.iter().filter(|group| own.is_none_or(|own| own.id != **group));
    others
        .map(|group| {
            let known = inventory.groups.iter().chain(&inventory.attached).find(|known| known.id == *group);
            let name = known.map(|known| format!(" ({:?})", known.name)).unwrap_or_default();
            Unknown {
                resource,
                id: id.to_owned(),
                what: Stranger::Group(group.clone()),
                is_ours: false,
                too_open: known.is_some_and(|known| known.rules.iter().any(|rule| is_too_open(rules, rule))),
                text: format!("{group}{name}, which {resource} {id} is in"),
            }
        })
        .collect()
}

/// Nobody needs to come in to the bastion, and a range as wide as this one is nobody's in particular.
fn is_too_open(resource: Resource, rule: &Rule) -> bool {
    let is_wide = match &rule.peer {
        Peer::Cidr(range) => Cidr::parse(range).is_ok_and(|cidr| cidr.prefix() < 8),
        Peer::Ipv6(range) => {
            range.rsplit_once('/').and_then(|(_, bits)| bits.parse::<u8>().ok()).is_some_and(|bits| bits < 16)
        }
        Peer::Group(_) | Peer::PrefixList(_) => false,
    };
    rule.direction == Direction::Ingress && (resource == Resource::BastionRules || is_wide)
}
