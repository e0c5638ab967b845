//! The internet gateway.

use aws_sdk_ec2::types::{InternetGateway as Answer, ResourceType};
use stack::inventory::{InternetGateway, Inventory};
use stack::{Resource, Stack};

use crate::core::blocker::Blocked;
use crate::core::create_once::{create_once, unrepeated};
use crate::core::deletion_proof::{DeletionProof, Presence, wait_until_absent};
use crate::core::job::{Job, vpc_of};
use crate::core::retry::{delete, visible};
use crate::core::state::State;
use crate::core::{blocker, tag};
use crate::error::failed;
use crate::kind::network_interface::blocking;
use crate::{Cloud, Error};

/// Returns the internet gateways with the stack's tag.
pub(crate) async fn list(cloud: &Cloud, stack: &Stack) -> Result<Vec<InternetGateway>, Error> {
    let call = cloud.ec2.describe_internet_gateways().filters(tag::of_stack(stack));
    let gateways: Result<Vec<Answer>, _> = call.into_paginator().items().send().collect().await;
    let gateways = gateways.map_err(failed("ec2", "DescribeInternetGateways"))?;
    Ok(gateways.iter().filter(|gateway| tag::is_own(stack, gateway.tags())).map(read).collect())
}

/// Creates the gateway if it does not exist, and attaches it to the VPC.
pub(crate) async fn ensure(job: &Job<'_>, state: &State) -> Result<InternetGateway, Error> {
    let gateway = match state.inventory.gateway() {
        Some(gateway) => gateway.clone(),
        None => create(job).await?,
    };
    if gateway.attached.is_some() {
        return Ok(gateway);
    }
    let state = job.rest_of_needs(state).await?;
    let vpc = vpc_of(&state.inventory)?;
    let attach = || async {
        let call = job.cloud.ec2.attach_internet_gateway().internet_gateway_id(&gateway.id).vpc_id(vpc);
        call.send().await.map_err(failed("ec2", "AttachInternetGateway"))
    };
    match visible(job, attach).await {
        Ok(_) => Ok(InternetGateway { attached: Some(vpc.to_owned()), ..gateway }),
        Err(error) => {
            // A lost reply: it is attached already. Any other gateway of the VPC is not ours.
            let gateways = list(job.cloud, job.stack).await?;
            let ours = |other: &InternetGateway| other.attached.as_deref() == Some(vpc);
            gateways.into_iter().find(ours).ok_or(error)
        }
    }
}

async fn create(job: &Job<'_>) -> Result<InternetGateway, Error> {
    let create = || async {
        let answer = job
            .cloud
            .ec2
            .create_internet_gateway()
            .tag_specifications(tag::ec2(job.stack, Resource::InternetGateway, ResourceType::InternetGateway))
            .customize()
            .config_override(unrepeated())
            .send()
            .await
            .map_err(failed("ec2", "CreateInternetGateway"))?;
        answer.internet_gateway.as_ref().map(read).ok_or(Error::Incomplete {
            service: "ec2",
            operation: "CreateInternetGateway",
            field: "gateway",
        })
    };
    let find = || async {
        let gateways = list(job.cloud, job.stack).await?.into_iter();
        Ok(gateways.filter(|gateway| gateway.attached.is_none()).min_by(|a, b| a.id.cmp(&b.id)))
    };
    create_once(job.stop, create, find).await
}

/// Detaches and deletes the gateway, and waits until it no longer exists.
///
/// # Errors
/// [`Error::Blocked`] names the network interfaces in its VPC that have a public address.
pub(crate) async fn destroy(job: &Job<'_>, id: &str, inventory: &Inventory) -> Result<DeletionProof, Error> {
    let attached = inventory.gateways.iter().find(|gateway| gateway.id == id);
    if let Some(vpc) = attached.and_then(|gateway| gateway.attached.as_deref()) {
        let call = || async {
            let call = job.cloud.ec2.detach_internet_gateway().internet_gateway_id(id).vpc_id(vpc);
            call.send().await.map_err(failed("ec2", "DetachInternetGateway"))
        };
        let holds = || async { blocking::public_blockers(job.cloud, vpc).await };
        blocker::delete(job, Blocked::by_id(job, id), call, holds).await?;
    }
    delete(job, || async {
        let call = job.cloud.ec2.delete_internet_gateway().internet_gateway_id(id);
        call.send().await.map_err(failed("ec2", "DeleteInternetGateway"))
    })
    .await?;
    wait_until_absent(job, "ec2", "DescribeInternetGateways", || async {
        let call = job.cloud.ec2.describe_internet_gateways().internet_gateway_ids(id).send();
        let answer = call.await.map_err(failed("ec2", "DescribeInternetGateways"))?;
        Ok(Presence::of_list(answer.internet_gateways()))
    })
    .await
}

pub(crate) fn read(gateway: &Answer) -> InternetGateway {
    let attachment = gateway.attachments().iter().find(|attachment| {
        let state = attachment.state().map(|state| state.as_str());
        !matches!(state, Some("detaching" | "detached"))
    });
    InternetGateway {
        id: gateway.internet_gateway_id().unwrap_or_default().to_owned(),
        attached: attachment.and_then(|attachment| attachment.vpc_id()).map(str::to_owned),
        state: attachment.and_then(|attachment| attachment.state()).map(|state| state.as_str().to_owned()),
    }
}
