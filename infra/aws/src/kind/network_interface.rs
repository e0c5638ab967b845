//! Network interfaces: what most often blocks the deletion of a subnet, a security group or a VPC.

pub(crate) mod blocking;

use aws_sdk_ec2::types::{Filter, NetworkInterface};
use stack::Stack;

use crate::core::tag;
use crate::error::failed;
use crate::{Cloud, Error};

/// Returns the network interfaces that match the filter.
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
