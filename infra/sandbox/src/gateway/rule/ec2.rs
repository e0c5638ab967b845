//! EC2 where moto is too lenient: a resource in use cannot be deleted.

mod blackhole;
mod instance;
mod launch;
mod status;

use std::sync::Arc;

use crate::gateway::Error;
use crate::gateway::state::State;
use crate::gateway::upstream::inventory::{Group, Inventory};
use crate::gateway::wire::reply::Reply;
use crate::gateway::wire::request::{Protocol, Request};

/// Answers the operations that are ours.
pub(crate) async fn answer(state: &Arc<State>, request: &Request) -> Result<Option<Reply>, Error> {
    let inventory = Inventory::new(&state.upstream, request.region());
    let violation = match request.operation.as_deref() {
        Some("DeleteSecurityGroup") => group_in_use(&inventory, request).await?,
        Some("DeleteSubnet") => subnet_in_use(&inventory, request).await?,
        Some("DetachInternetGateway") => addresses_in_use(&inventory, request).await?,
        Some("DeleteVpc") => vpc_in_use(&inventory, request).await?,
        Some("DescribeRouteTables") => return Ok(Some(blackhole::describe(&state.upstream, request).await?)),
        _ => return instance::answer(state, request).await,
    };
    Ok(violation.map(|message| Reply::refuse(Protocol::Ec2, 400, "DependencyViolation", &message)))
}

async fn group_in_use(inventory: &Inventory<'_>, request: &Request) -> Result<Option<String>, Error> {
    let Some(id) = request.param("GroupId") else { return Ok(None) };
    let (groups, interfaces, instances, databases) = tokio::try_join!(
        inventory.groups(None),
        inventory.interfaces(("group-id", id)),
        inventory.instances(None),
        inventory.databases()
    )?;
    let of = |list: &[String]| list.iter().any(|group| group == id);
    let used = !interfaces.is_empty()
        || instances.iter().any(|instance| !instance.is_terminated() && of(&instance.groups))
        || databases.iter().any(|database| of(&database.groups))
        || groups.iter().any(|group| group.id != id && names(group, id));
    Ok(used.then(|| format!("resource {id} has a dependent object")))
}

fn names(group: &Group, id: &str) -> bool {
    group.ingress.iter().chain(&group.egress).any(|rule| rule.groups.iter().any(|other| other == id))
}

async fn subnet_in_use(inventory: &Inventory<'_>, request: &Request) -> Result<Option<String>, Error> {
    let Some(id) = request.param("SubnetId") else { return Ok(None) };
    let (interfaces, instances, databases) = tokio::try_join!(
        inventory.interfaces(("subnet-id", id)),
        inventory.instances(Some(("subnet-id", id))),
        inventory.databases()
    )?;
    let used = !interfaces.is_empty()
        || instances.iter().any(|instance| !instance.is_terminated())
        || databases.iter().any(|database| database.subnets.iter().any(|subnet| subnet == id));
    Ok(used.then(|| format!("The subnet '{id}' has dependencies and cannot be deleted.")))
}

async fn addresses_in_use(inventory: &Inventory<'_>, request: &Request) -> Result<Option<String>, Error> {
    let Some(vpc) = request.param("VpcId") else { return Ok(None) };
    let instances = inventory.instances(Some(("vpc-id", vpc))).await?;
    let used = instances.iter().any(|instance| !instance.is_terminated() && instance.public_ip.is_some());
    Ok(used.then(|| {
        format!(
            "Network {vpc} has some mapped public address(es). Please unmap those public address(es) before \
             detaching the gateway."
        )
    }))
}

/// Checks what moto does not: it looks at subnets and route tables itself.
async fn vpc_in_use(inventory: &Inventory<'_>, request: &Request) -> Result<Option<String>, Error> {
    let Some(vpc) = request.param("VpcId") else { return Ok(None) };
    let (gateways, groups) =
        tokio::try_join!(inventory.gateways(vpc), inventory.groups(Some(("vpc-id", vpc))))?;
    let used = !gateways.is_empty() || groups.iter().any(|group| group.name != "default");
    Ok(used.then(|| format!("The vpc '{vpc}' has dependencies and cannot be deleted.")))
}
