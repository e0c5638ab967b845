//! The stack as it would be.

use super::{Candidate, Thing};
use crate::inventory::{Inventory, Profile, Role};

/// Returns what the stack would consist of if these were its own.
pub fn hypothetical(inventory: &Inventory, candidates: &[Candidate]) -> Inventory {
    let mut inventory = inventory.clone();
    for Candidate { part, thing, .. } in candidates {
        let resource = part.tag().to_owned();
        match thing.clone() {
            Thing::Vpc(vpc) => put(&mut inventory.vpcs, vpc, |vpc| &vpc.id),
            Thing::Subnet(mut subnet) => {
                subnet.resource = resource;
                put(&mut inventory.subnets, subnet, |subnet| &subnet.id);
            }
            Thing::Gateway(gateway) => put(&mut inventory.gateways, gateway, |gateway| &gateway.id),
            Thing::RouteTable(mut table) => {
                table.resource = resource;
                put(&mut inventory.route_tables, table, |table| &table.id);
            }
            Thing::Group(mut group) => {
                group.resource = resource;
                put(&mut inventory.groups, group, |group| &group.id);
            }
            Thing::SubnetGroup { group, .. } => inventory.subnet_group = Some(group),
            Thing::Database(database) => inventory.database = Some(*database),
            Thing::Secret(mut secret) => {
                secret.tagged = true;
                secret.resource = resource;
                put(&mut inventory.secrets, secret, |secret| &secret.name);
            }
            Thing::Role { role, .. } => inventory.role = Some(Role { has_region: true, ..role }),
            Thing::Profile { profile, .. } => {
                inventory.profile = Some(Profile { has_region: true, ..profile });
            }
            Thing::Instance { instance, agent, .. } => {
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
            Thing::Vpc(_) => inventory.vpcs.iter().any(|vpc| vpc.id == *id),
            Thing::Subnet(_) => inventory.subnets.iter().any(|one| one.id == *id && one.resource == tag),
            Thing::Gateway(_) => inventory.gateways.iter().any(|gateway| gateway.id == *id),
            Thing::RouteTable(_) => {
                inventory.route_tables.iter().any(|one| one.id == *id && one.resource == tag)
            }
            Thing::Group(_) => inventory.groups.iter().any(|one| one.id == *id && one.resource == tag),
            Thing::SubnetGroup { .. } => inventory.subnet_group.is_some(),
            Thing::Database(_) => inventory.database.is_some(),
            Thing::Secret(_) => inventory.secret(id).is_some_and(|secret| secret.tagged),
            Thing::Role { .. } => inventory.role.is_some(),
            Thing::Profile { .. } => inventory.profile.is_some(),
            Thing::Instance { .. } => inventory.instances.iter().any(|instance| instance.id == *id),
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
