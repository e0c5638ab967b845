//! Subnets.

use aws_sdk_ec2::types::{ResourceType, Subnet as Answer};
use stack::inventory::{Inventory, Subnet};
use stack::{Resource, Stack};

use crate::core::blocker::Blocked;
use crate::core::deletion_proof::{DeletionProof, Presence, wait_until_absent};
use crate::core::job::{Job, vpc_of};
use crate::core::retry::visible;
use crate::core::{blocker, tag};
use crate::error::failed;
use crate::kind::network_interface::blocking;
use crate::{Cloud, Error};

/// Returns the subnets with the stack's tag.
pub(crate) async fn list(cloud: &Cloud, stack: &Stack) -> Result<Vec<Subnet>, Error> {
    let pages = cloud.ec2.describe_subnets().filters(tag::of_stack(stack)).into_paginator().items().send();
    let subnets: Result<Vec<Answer>, _> = pages.collect().await;
    let subnets = subnets.map_err(failed("ec2", "DescribeSubnets"))?;
    Ok(subnets.iter().filter(|subnet| tag::is_own(stack, subnet.tags())).map(read).collect())
}

/// Creates the subnet if it does not exist.
pub(crate) async fn ensure(
    job: &Job<'_>,
    inventory: &Inventory,
    resource: Resource,
) -> Result<Subnet, Error> {
    if let Some(subnet) = inventory.subnet(resource.tag()) {
        return Ok(subnet.clone());
    }
    let vpc = vpc_of(inventory)?;
    let network = &job.stack.network;
    let want = if resource == Resource::PublicSubnet {
        &network.public
    } else if resource == Resource::PrivateSubnetA {
        &network.private[0]
    } else {
        &network.private[1]
    };
    let call = || async {
        job.cloud
            .ec2
            .create_subnet()
            .vpc_id(vpc)
            .cidr_block(want.cidr.to_string())
            .availability_zone(&want.zone)
            .tag_specifications(tag::ec2(job.stack, resource, ResourceType::Subnet))
            .send()
            .await
            .map_err(failed("ec2", "CreateSubnet"))
    };
    match visible(job, call).await {
        Ok(answer) => answer.subnet.as_ref().map(read).ok_or(Error::Incomplete {
            service: "ec2",
            operation: "CreateSubnet",
            field: "subnet",
        }),
        // The range is taken: by our own subnet if a reply was lost.
        Err(error) if error.is_duplicate() => {
            let subnets = list(job.cloud, job.stack).await?;
            let ours = |subnet: &Subnet| subnet.vpc == vpc && subnet.resource == resource.tag();
            subnets.into_iter().find(ours).ok_or(error)
        }
        Err(error) => Err(error),
    }
}

/// Deletes the subnet, and waits until it no longer exists.
///
/// # Errors
/// [`Error::Blocked`] names the network interfaces that are still in it.
pub(crate) async fn destroy(job: &Job<'_>, id: &str) -> Result<DeletionProof, Error> {
    let call = || async {
        job.cloud.ec2.delete_subnet().subnet_id(id).send().await.map_err(failed("ec2", "DeleteSubnet"))
    };
    let holds = || async { blocking::blockers(job.cloud, tag::filter("subnet-id", id)).await };
    blocker::delete(job, Blocked::by_id(job, id), call, holds).await?;
    wait_until_absent(job, "ec2", "DescribeSubnets", || async {
        let call = job.cloud.ec2.describe_subnets().subnet_ids(id).send();
        let answer = call.await.map_err(failed("ec2", "DescribeSubnets"))?;
        Ok(Presence::of_list(answer.subnets()))
    })
    .await
}

pub(crate) fn read(subnet: &Answer) -> Subnet {
    Subnet {
        id: subnet.subnet_id().unwrap_or_default().to_owned(),
        vpc: subnet.vpc_id().unwrap_or_default().to_owned(),
        cidr: subnet.cidr_block().unwrap_or_default().to_owned(),
        zone: subnet.availability_zone().unwrap_or_default().to_owned(),
        state: subnet.state().map(|state| state.as_str().to_owned()),
        resource: tag::resource(subnet.tags()),
    }
}
