//! What is to be done about the network and the security groups.

use super::verdict::{Surplus, Verdict};
use crate::inventory::{Inventory, RouteTable};
use crate::resource::Resource;
use crate::spec::{Stack, Subnet};

const EVERYWHERE: &str = "0.0.0.0/0";

pub(super) fn vpc(stack: &Stack, inventory: &Inventory) -> Verdict {
    match inventory.vpc() {
        Some(_) => Verdict::Fine,
        None => Verdict::Create(stack.network.cidr.to_string()),
    }
}

pub(super) fn dns(inventory: &Inventory) -> Verdict {
    let Some(vpc) = inventory.vpc() else {
        return Verdict::Create("support and host names".to_owned());
    };
    match (vpc.dns_support, vpc.dns_hostnames) {
        (Some(true), Some(true)) => Verdict::Fine,
        (Some(true), _) => Verdict::Repair("host names are off".to_owned()),
        (_, Some(true)) => Verdict::Repair("support is off".to_owned()),
        (_, _) => Verdict::Repair("support and host names are off".to_owned()),
    }
}

pub(super) fn gateway(inventory: &Inventory) -> Verdict {
    match inventory.gateway() {
        None => Verdict::Create("attached to the vpc".to_owned()),
        Some(gateway) if gateway.attached.is_none() => {
            Verdict::Repair(format!("{} is not attached to the vpc", gateway.id))
        }
        Some(_) => Verdict::Fine,
    }
}

pub(super) fn subnet(want: &Subnet, inventory: &Inventory, resource: Resource) -> Verdict {
    match inventory.subnet(resource.tag()) {
        Some(_) => Verdict::Fine,
        None => Verdict::Create(format!("{} in {}", want.cidr, want.zone)),
    }
}

pub(super) fn public_routes(inventory: &Inventory) -> Verdict {
    let Some(table) = inventory.route_table(Resource::PublicRoutes.tag()) else {
        return Verdict::Create(format!("{EVERYWHERE} to the internet gateway"));
    };
    let mut wrong = unassociated(inventory, table, &[Resource::PublicSubnet]);
    let gateway = inventory.gateway().map(|gateway| gateway.id.as_str());
    match table.routes.iter().find(|route| route.destination == EVERYWHERE) {
        None => wrong.push(format!("there is no route to {EVERYWHERE}")),
        Some(route) if route.blackhole => wrong.push(format!("the route to {EVERYWHERE} is a blackhole")),
        Some(route) if gateway.is_none() || route.gateway.as_deref() != gateway => {
            wrong.push(format!("the route to {EVERYWHERE} does not lead to the internet gateway"));
        }
        Some(_) => (),
    }
    repair(&wrong)
}

pub(super) fn private_routes(inventory: &Inventory) -> Verdict {
    match inventory.route_table(Resource::PrivateRoutes.tag()) {
        None => Verdict::Create("no route out".to_owned()),
        Some(table) => {
            repair(&unassociated(inventory, table, &[Resource::PrivateSubnetA, Resource::PrivateSubnetB]))
        }
    }
}

pub(super) fn group(stack: &Stack, inventory: &Inventory, resource: Resource) -> Verdict {
    match inventory.group(resource.tag()) {
        Some(_) => Verdict::Fine,
        None => {
            let part = if resource == Resource::BastionGroup { "bastion" } else { "database" };
            Verdict::Create(stack.name_of(part))
        }
    }
}

/// Returns the VPCs that hold nothing, beside the one that the stack builds on.
pub(super) fn surplus_vpcs(inventory: &Inventory) -> Vec<Surplus> {
    let kept = inventory.vpc().map(|vpc| &vpc.id);
    let others = inventory.vpcs.iter().filter(|vpc| Some(&vpc.id) != kept && is_bare(inventory, &vpc.id));
    others.map(|vpc| (vpc.id.clone(), "a second vpc with nothing in it".to_owned())).collect()
}

/// Returns the gateways that are attached to nothing, beside the one that the stack uses.
pub(super) fn surplus_gateways(inventory: &Inventory) -> Vec<Surplus> {
    let kept = inventory.gateway().map(|gateway| &gateway.id);
    let others = inventory.gateways.iter().filter(|g| Some(&g.id) != kept && g.attached.is_none());
    others.map(|gateway| (gateway.id.clone(), "a second gateway, attached to nothing".to_owned())).collect()
}

/// Returns the route tables that no subnet uses, beside the one that the stack uses.
pub(super) fn surplus_tables(inventory: &Inventory, resource: Resource) -> Vec<Surplus> {
    let kept = inventory.route_table(resource.tag());
    let vpc = inventory.vpc().map(|vpc| vpc.id.as_str());
    let others = inventory.route_tables.iter().filter(|table| {
        table.resource == resource.tag()
            && Some(table.vpc.as_str()) == vpc
            && table.associations.is_empty()
            && kept.is_none_or(|kept| kept.id != table.id)
    });
    others.map(|table| (table.id.clone(), "a second route table that no subnet uses".to_owned())).collect()
}

/// Tells whether nothing that we know of is in the VPC.
pub(super) fn is_bare(inventory: &Inventory, vpc: &str) -> bool {
    !inventory.subnets.iter().any(|subnet| subnet.vpc == vpc)
        && !inventory.route_tables.iter().any(|table| table.vpc == vpc)
        && !inventory.groups.iter().any(|group| group.vpc == vpc)
        && !inventory.gateways.iter().any(|gateway| gateway.attached.as_deref() == Some(vpc))
}

fn unassociated(inventory: &Inventory, table: &RouteTable, subnets: &[Resource]) -> Vec<String> {
    let associated = |resource: &Resource| {
        inventory
            .subnet(resource.tag())
            .is_some_and(|subnet| table.associations.iter().any(|link| link.subnet == subnet.id))
    };
    subnets.iter().filter(|r| !associated(r)).map(|r| format!("{r} is not associated")).collect()
}

fn repair(wrong: &[String]) -> Verdict {
    if wrong.is_empty() { Verdict::Fine } else { Verdict::Repair(wrong.join("; ")) }
}
