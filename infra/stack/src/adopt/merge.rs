//! The stack as it would be.

use super::{Candidate, Observed};
use crate::inventory::{Inventory, Profile, Role};

/// Returns what the stack would consist of if these were its own.
pub fn hypothetical(inventory: &Inventory, candidates: &[Candidate]) -> Inventory {
    let mut inventory = inventory.clone();
    for Candidate { part, thing, .. } in candidates {
        let resource = part.tag().to_owned();
        match thing.clone() {
            Observed::Vpc(vpc) => put(&mut inventory.vpcs, vpc, |vpc| &vpc.id),
            Observed::Subnet(mut subnet) => {
                subnet.resource = resource;
                put(&mut inventory.subnets, subnet, |subnet| &subnet.id);
            }
            Observed::Gateway(gateway) => put(&mut inventory.gateways, gateway, |gateway| &gateway.id),
            Observed::RouteTable(mut table) => {
                table.resource = resource;
                put(&mut inventory.route_tables, table, |table| &table.id);
            }
            Observed::Group(mut group) => {
                group.resource = resource;
                put(&mut inventory.groups, group, |group| &group.id);
            }
            Observed::SubnetGroup { group, .. } => inventory.subnet_group = Some(group),
            Observed::Database(database) => inventory.database = Some(*database),
            Observed::Secret(mut secret) => {
                secret.tagged = true;
                secret.resource = resource;
                put(&mut inventory.secrets, secret, |secret| &secret.name);
            }
            Observed::Role { role, .. } => inventory.role = Some(Role { has_region: true, ..role }),
            Observed::Profile { profile, .. } => {
                inventory.profile = Some(Profile { has_region: true, ..profile });
            }
            Observed::Instance { instance, agent, .. } => {
                put(&mut inventory.instances, *instance, |instance| &instance.id);
                inventory.agent = agent;
            }
        }
    }
    inventory
}

/// Returns the ids of those that the inventory does not show as the stack's.
pub fn absent(inventory: &Inventory, candidates: &[Candidate]) -> Vec<String> {
    let is_there = |candidate: &&Candidate| {
        let (id, tag) = (&candidate.id, candidate.part.tag());
        match &candidate.thing {
            Observed::Vpc(_) => inventory.vpcs.iter().any(|vpc| vpc.id == *id),
            Observed::Subnet(_) => inventory.subnets.iter().any(|one| one.id == *id && one.resource == tag),
            Observed::Gateway(_) => inventory.gateways.iter().any(|gateway| gateway.id == *id),
            Observed::RouteTable(_) => {
                inventory.route_tables.iter().any(|one| one.id == *id && one.resource == tag)
            }
            Observed::Group(_) => inventory.groups.iter().any(|one| one.id == *id && one.resource == tag),
            Observed::SubnetGroup { .. } => inventory.subnet_group.is_some(),
            Observed::Database(_) => inventory.database.is_some(),
            Observed::Secret(_) => inventory.secret(id).is_some_and(|secret| secret.tagged),
            Observed::Role { .. } => inventory.role.is_some(),
            Observed::Profile { .. } => inventory.profile.is_some(),
            Observed::Instance { .. } => inventory.instances.iter().any(|instance| instance.id == *id),
        }
    };
    candidates.iter().filter(|candidate| !is_there(candidate)).map(|candidate| candidate.id.clone()).collect()
}

fn put<T>(list: &mut Vec<T>, entry: T, id: fn(&T) -> &String) {
    match list.iter_mut().find(|other| id(other) == id(&entry)) {
        Some(other) => *other = entry,
        None => list.push(entry),
    }
}
