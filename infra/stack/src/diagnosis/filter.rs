//! What security groups and network ACLs let through, as far as their rules were read.

use super::facts::{Fact, Facts};
use super::link::Judgement;
use crate::finding::{Cause, Finding};
use crate::inventory::{Direction, Instance, Inventory, Peer, Rule};
use crate::network_context::{LAST, NetworkAcl, Says};
use crate::spec::Cidr;

/// Tells whether rules let the bastion in at that port.
pub(super) fn admits(inventory: &Inventory, rules: &[Rule], bastion: &Instance, port: u16) -> bool {
    let subnet = inventory.subnets.iter().find(|subnet| Some(&subnet.id) == bastion.subnet.as_ref());
    let own = subnet.and_then(|subnet| Cidr::parse(&subnet.cidr).ok());
    rules.iter().any(|rule| {
        covers(rule, Direction::Ingress, port)
            && match &rule.peer {
                Peer::Group(id) => bastion.groups.contains(id),
                Peer::Cidr(range) => {
                    Cidr::parse(range).ok().zip(own).is_some_and(|(wide, own)| wide.contains(own))
                }
                Peer::Ipv6(_) | Peer::PrefixList(_) => false,
            }
    })
}

pub(super) fn covers(rule: &Rule, direction: Direction, port: u16) -> bool {
    let has_port = rule.ports.is_none_or(|(first, last)| (first..=last).contains(&port));
    rule.direction == direction && (rule.protocol == "-1" || rule.protocol == "tcp" && has_port)
}

/// Returns a security group whose rules are not known: it may let through what the others do not.
pub(super) fn unread<'a>(inventory: &Inventory, groups: &'a [String]) -> Option<&'a String> {
    let is_read = |id: &str| inventory.groups.iter().chain(&inventory.attached).any(|group| group.id == id);
    groups.iter().find(|id| !is_read(id))
}

/// What a network ACL stands in the way of.
pub(super) struct Wall {
    pub(super) direction: Direction,
    pub(super) ports: (u16, u16),
    pub(super) range: Cidr,
    pub(super) cause: Cause,
    pub(super) what: &'static str,
}

/// Returns what a network ACL that does not say yes comes to.
pub(super) fn refusal(facts: &Facts, acl: &NetworkAcl, says: &Says, wall: Wall) -> Judgement {
    let Wall { direction, ports, range, cause, what } = wall;
    let NetworkAcl { id, subnets, .. } = acl;
    let number = match says {
        Says::No(number) => *number,
        Says::Yes | Says::Perhaps(_) => {
            return Judgement::Unknown(format!(
                "a rule of `{id}` stops a part of {range}; whether that is the part that matters is not known"
            ));
        }
    };
    let way = if direction == Direction::Egress { "--egress" } else { "--ingress" };
    let region = &facts.caller.region;
    let (rule, command) = if number == LAST {
        let (first, last) = ports;
        let command = format!(
            "aws ec2 create-network-acl-entry --region {region} --network-acl-id {id} {way} --rule-number 1 \
             --protocol 6 --port-range From={first},To={last} --cidr-block {range} --rule-action allow"
        );
        ("no rule allows it".to_owned(), command)
    } else {
        let command = format!(
            "aws ec2 delete-network-acl-entry --region {region} --network-acl-id {id} {way} --rule-number {number}"
        );
        (format!("its rule {number} denies it"), command)
    };
    let sentence = format!("network ACL `{id}` of subnet `{}` does not let {what}", subnets.join("`, `"));
    Finding::mended_by(command, cause, sentence, rule).into()
}

/// Returns the network ACL of a subnet.
pub(super) fn acl_of<'a>(facts: &'a Facts, subnet: &str) -> Result<&'a NetworkAcl, Judgement> {
    let acls = match &facts.acls {
        Fact::Known(acls) => acls,
        Fact::Unknown(why) => return Err(Judgement::Unknown(why.clone())),
        Fact::Unasked => return Err(Judgement::Skipped("there is no VPC".to_owned())),
    };
    let found = acls.iter().find(|acl| acl.subnets.iter().any(|id| id == subnet));
    found.ok_or_else(|| Judgement::Unknown(format!("no network ACL names subnet `{subnet}`")))
}
