//! Which network interfaces block a deletion, and which of them go by themselves.

use aws_sdk_ec2::types::{Filter, NetworkInterface};
use stack::receipt::Blocker;

use super::{instance_of, list, owner, user};
use crate::core::blocker::FoundBlocker;
use crate::core::tag;
use crate::kind::instance;
use crate::{Cloud, Error};

/// Returns the network interfaces that match the filter, as blockers.
pub(crate) async fn blockers(cloud: &Cloud, filter: Filter) -> Result<Vec<FoundBlocker>, Error> {
    held(cloud, &list(cloud, filter).await?).await
}

/// Returns the network interfaces of a VPC that have a public address: they block its internet gateway.
pub(crate) async fn public_blockers(cloud: &Cloud, vpc: &str) -> Result<Vec<FoundBlocker>, Error> {
    let mut interfaces = list(cloud, tag::filter("vpc-id", vpc)).await?;
    interfaces.retain(|one| one.association().and_then(|address| address.public_ip()).is_some());
    held(cloud, &interfaces).await
}

async fn held(cloud: &Cloud, interfaces: &[NetworkInterface]) -> Result<Vec<FoundBlocker>, Error> {
    let mut held = Vec::new();
    for interface in interfaces {
        let is_transient = match instance_of(interface) {
            // A terminated instance takes its interface with it.
            Some(id) => match instance::find(cloud, id).await? {
                Some(instance) => instance.state == "shutting-down",
                None => true,
            },
            // RDS, for example, deletes its own some time after the database.
            None => interface.requester_managed() == Some(true),
        };
        held.push(FoundBlocker { blocker: blocker(cloud, interface), is_transient });
    }
    Ok(held)
}

fn blocker(cloud: &Cloud, interface: &NetworkInterface) -> Blocker {
    let id = interface.network_interface_id().unwrap_or("?");
    let command = match (instance_of(interface), interface.requester_managed()) {
        (Some(instance), _) => format!("aws ec2 terminate-instances --instance-ids {instance}"),
        // Only the service that made it can delete it; the description names the service.
        (None, Some(true)) => format!("aws ec2 describe-network-interfaces --network-interface-ids {id}"),
        (None, _) => format!("aws ec2 delete-network-interface --network-interface-id {id}"),
    };
    Blocker {
        kind: "network interface".to_owned(),
        id: id.to_owned(),
        owner: Some(owner(interface).to_owned()),
        detail: user(interface),
        command: format!("{command} --region {}", cloud.region),
    }
}
