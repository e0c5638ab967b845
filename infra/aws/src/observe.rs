//! Reads what exists of the stack.

use futures_util::try_join;
use stack::inventory::{Agent, Instance, Stray, Volume};
use stack::{Inventory, Stack};

use crate::core::ownership::{self, Sighted};
use crate::core::state::sort;
use crate::kind::database::Databases;
use crate::kind::{
    alarm, database, instance, internet_gateway, log_group, profile, role, route_table, secret,
    security_group, subnet, subnet_group, topic, volume, vpc,
};
use crate::{Cloud, Error, lock, session};

/// Returns what exists of the stack.
///
/// All lists are asked for at the same time; only what needs an id from a list comes second. What the stack file turns
/// off is looked for as well: it may have been on before.
///
/// # Errors
/// The first list that failed: what could not be seen is not taken for absent.
pub async fn observe(cloud: &Cloud, stack: &Stack) -> Result<Inventory, Error> {
    let (of_bastion, of_monitoring) = (role::of_bastion(stack), role::of_monitoring(stack));
    let (
        vpcs,
        subnets,
        gateways,
        route_tables,
        groups,
        secrets,
        subnet_group,
        databases,
        monitoring_role,
        log_groups,
        topic,
        alarms,
        role,
        profile,
        (instances, volumes, agent),
        image,
        locks,
    ) = try_join!(
        vpc::list_with_dns(cloud, stack),
        subnet::list(cloud, stack),
        internet_gateway::list(cloud, stack),
        route_table::list(cloud, stack),
        security_group::list(cloud, stack),
        secret::list(cloud, stack),
        subnet_group::find(cloud, stack),
        database::list(cloud, stack),
        role::find(cloud, stack, &of_monitoring),
        log_group::list(cloud, stack),
        topic::find(cloud, stack),
        alarm::list(cloud, stack),
        role::find(cloud, stack, &of_bastion),
        profile::find(cloud, stack),
        instances(cloud, stack),
        instance::find_image(cloud),
        lock::list(cloud, stack),
    )?;
    let Databases { own: database, mut strays } = databases;
    let subnet_group = regional(subnet_group, &mut strays);
    let topic = regional(topic, &mut strays);
    let mut inventory = Inventory {
        vpcs,
        subnets,
        gateways,
        route_tables,
        groups,
        attached: Vec::new(),
        secrets,
        subnet_group,
        database,
        log_groups,
        topic,
        alarms,
        instances,
        volumes,
        agent,
        image,
        locks,
        strays,
        ..Inventory::default()
    };
    ownership::settle(&mut inventory, (profile, role), monitoring_role);
    inventory.attached = security_group::attached(cloud, &inventory).await?;
    sort(&mut inventory);
    Ok(inventory)
}

/// Returns what is the stack's: a regional service leaves no doubt.
fn regional<T>(found: Sighted<T>, strays: &mut Vec<Stray>) -> Option<T> {
    match found {
        Sighted::Ours(found) | Sighted::Unplaced(found) => Some(found),
        Sighted::Absent => None,
        Sighted::Stray(stray) => {
            strays.push(stray);
            None
        }
    }
}

type Instances = (Vec<Instance>, Vec<Volume>, Option<Agent>);

async fn instances(cloud: &Cloud, stack: &Stack) -> Result<Instances, Error> {
    let found = async {
        let instances = instance::list(cloud, stack).await?;
        let known = Inventory { instances, ..Inventory::default() };
        let agent = match known.bastion() {
            Some(bastion) if bastion.state == "running" => session::find_agent(cloud, &bastion.id).await?,
            Some(_) | None => None,
        };
        Ok((known.instances, agent))
    };
    let ((mut instances, agent), volumes) = try_join!(found, volume::list(cloud, stack))?;
    for instance in &mut instances {
        let root = volumes.iter().find(|volume| volume.instance.as_ref() == Some(&instance.id));
        instance.volume_gib = root.and_then(|volume| volume.size_gib);
    }
    Ok((instances, volumes, agent))
}
