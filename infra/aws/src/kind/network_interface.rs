//! Network interfaces: what most often keeps a subnet, a group or a VPC from being deleted.

use aws_sdk_ec2::types::{Filter, NetworkInterface};
use stack::Stack;
use stack::receipt::Blocker;

use crate::core::blocker::Held;
use crate::core::tag;
use crate::error::failed;
use crate::kind::instance;
use crate::{Cloud, Error};

/// Returns the network interfaces that EC2's filter lets pass.
pub(crate) async fn list(cloud: &Cloud, filter: Filter) -> Result<Vec<NetworkInterface>, Error> {
    let pages = cloud.ec2.describe_network_interfaces().filters(filter).into_paginator().items().send();
    let interfaces: Result<Vec<NetworkInterface>, _> = pages.collect().await;
    interfaces.map_err(failed("ec2", "DescribeNetworkInterfaces"))
}

/// Returns id and description of the network interfaces with the stack's tag.
pub(crate) async fn list_of_stack(cloud: &Cloud, stack: &Stack) -> Result<Vec<(String, String)>, Error> {
    let interfaces = list(cloud, tag::of_stack(stack)).await?;
    let row = |interface: &NetworkInterface| {
        (interface.network_interface_id().unwrap_or_default().to_owned(), describe(interface))
    };
    let own = interfaces.iter().filter(|interface| tag::is_own(stack, interface.tag_set()));
    Ok(own.map(row).collect())
}

/// Returns the network interfaces that EC2's filter lets pass, as what holds something.
pub(crate) async fn blockers(cloud: &Cloud, filter: Filter) -> Result<Vec<Held>, Error> {
    held(cloud, &list(cloud, filter).await?).await
}

/// Returns those in a VPC that have a public address: they hold its internet gateway.
pub(crate) async fn public_blockers(cloud: &Cloud, vpc: &str) -> Result<Vec<Held>, Error> {
    let mut interfaces = list(cloud, tag::filter("vpc-id", vpc)).await?;
    interfaces.retain(|one| one.association().and_then(|address| address.public_ip()).is_some());
    held(cloud, &interfaces).await
}

async fn held(cloud: &Cloud, interfaces: &[NetworkInterface]) -> Result<Vec<Held>, Error> {
    let mut held = Vec::new();
    for interface in interfaces {
        let goes_by_itself = match instance_of(interface) {
            // It is gone, or on its way out and takes the interface with it.
            Some(id) => match instance::find(cloud, id).await? {
                Some(instance) => instance.state == "shutting-down",
                None => true,
            },
            // RDS, for one, removes its own a while after the database is gone.
            None => interface.requester_managed() == Some(true),
        };
        held.push(Held { blocker: blocker(cloud, interface), goes_by_itself });
    }
    Ok(held)
}

fn blocker(cloud: &Cloud, interface: &NetworkInterface) -> Blocker {
    let id = interface.network_interface_id().unwrap_or("?");
    let command = match (instance_of(interface), interface.requester_managed()) {
        (Some(instance), _) => format!("aws ec2 terminate-instances --instance-ids {instance}"),
        // Only the service that made it can remove it: the description says which.
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

fn instance_of(interface: &NetworkInterface) -> Option<&str> {
    interface.attachment().and_then(|attachment| attachment.instance_id())
}

fn describe(interface: &NetworkInterface) -> String {
    let id = interface.network_interface_id().unwrap_or("?");
    format!("network interface {id} {}, owner {}", user(interface), owner(interface))
}

fn user(interface: &NetworkInterface) -> String {
    match instance_of(interface) {
        Some(instance) => format!("of instance {instance}"),
        None => match interface.description().filter(|text| !text.is_empty()) {
            Some(description) => format!("`{description}`"),
            None => "attached to nothing".to_owned(),
        },
    }
}

fn owner(interface: &NetworkInterface) -> &str {
    let of_instance = interface.attachment().and_then(|attachment| attachment.instance_owner_id());
    let named = of_instance.or(interface.requester_id()).or(interface.owner_id());
    named.filter(|owner| !owner.is_empty()).unwrap_or("unknown")
}
