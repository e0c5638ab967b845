//! Network interfaces: what most often keeps a subnet, a group or a VPC from being deleted.

use aws_sdk_ec2::types::NetworkInterface;
use stack::Stack;

use crate::error::failed;
use crate::step::Job;
use crate::{Cloud, Error, tag};

/// Returns the network interfaces that EC2's filter lets pass.
pub(crate) async fn list(
    cloud: &Cloud,
    filter: aws_sdk_ec2::types::Filter,
) -> Result<Vec<NetworkInterface>, Error> {
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
    Ok(interfaces.iter().map(row).collect())
}

/// Returns the refusal with the names of the interfaces behind it, or as it is if there are none.
pub(crate) async fn blocked(job: &Job<'_>, filter: &str, id: &str, refusal: Error) -> Error {
    // The refusal is what people must learn; a second failure while asking for its cause adds nothing.
    let interfaces = list(job.cloud, tag::filter(filter, id)).await.unwrap_or_default();
    if interfaces.is_empty() {
        return refusal;
    }
    let blockers = interfaces.iter().map(describe).collect();
    Error::Blocked { subject: format!("{} `{id}`", job.subject), blockers, source: Box::new(refusal) }
}

fn describe(interface: &NetworkInterface) -> String {
    let id = interface.network_interface_id().unwrap_or("?");
    let attachment = interface.attachment();
    let user = match attachment.and_then(|attachment| attachment.instance_id()) {
        Some(instance) => format!("of instance {instance}"),
        None => match interface.description().filter(|text| !text.is_empty()) {
            Some(description) => format!("`{description}`"),
            None => "attached to nothing".to_owned(),
        },
    };
    let owner = attachment
        .and_then(|attachment| attachment.instance_owner_id())
        .or(interface.requester_id())
        .or(interface.owner_id())
        .unwrap_or("unknown");
    format!("network interface {id} {user}, owner {owner}")
}
