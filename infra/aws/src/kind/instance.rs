//! The bastion: an EC2 instance that only Systems Manager can reach.

mod user_data;

use std::time::Duration;

use aws_sdk_ec2::operation::run_instances::builders::RunInstancesFluentBuilder;
use aws_sdk_ec2::types::{
    BlockDeviceMapping, EbsBlockDevice, HttpTokensState, IamInstanceProfileSpecification, Instance as Answer,
    InstanceMetadataEndpointState, InstanceMetadataOptionsRequest, InstanceMetadataTagsState,
    InstanceNetworkInterfaceSpecification, InstanceType, Reservation, ResourceType, ShutdownBehavior,
    VolumeType,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::try_join;
use stack::inventory::{Instance, Inventory};
use stack::spec::{AMI_PARAMETER, EXPIRY_TAG, KEEP_TAG, REBOOT_TAG};
use stack::{Resource, Stack};
use tokio::time::Instant;

use crate::core::deletion_proof::{DeletionProof, deletion_proof};
use crate::core::job::{Job, group_of, missing, subnet_of};
use crate::core::retry::{VISIBLE_WITHIN, delete, retry_while};
use crate::core::state::Change;
use crate::core::wait::{Probe, wait_until};
use crate::core::{password, tag};
use crate::error::failed;
use crate::kind::network_interface;
use crate::{Cloud, Error};

const RUNNING_WITHIN: Duration = Duration::from_secs(300);
/// AWS's documents speak of "a few seconds"; two minutes have been seen.
const PROFILE_KNOWN_WITHIN: Duration = Duration::from_secs(120);
const ROOT_DEVICE: &str = "/dev/xvda";

/// Returns the instances with the stack's tag that are not terminated, without the sizes of their volumes.
pub(crate) async fn list(cloud: &Cloud, stack: &Stack) -> Result<Vec<Instance>, Error> {
    let pages = cloud.ec2.describe_instances().filters(tag::of_stack(stack)).into_paginator().items().send();
    let reservations: Result<Vec<Reservation>, _> = pages.collect().await;
    let reservations = reservations.map_err(failed("ec2", "DescribeInstances"))?;
    let instances = reservations.iter().flat_map(|reservation| reservation.instances());
    let own = instances.filter(|instance| tag::is_own(stack, instance.tags()));
    Ok(own.map(read).filter(|instance| instance.state != "terminated").collect())
}

/// Returns the newest Amazon Linux 2023 image with the agent in it; `None` if the region offers none.
pub(crate) async fn find_image(cloud: &Cloud) -> Result<Option<String>, Error> {
    let call = cloud.ssm.get_parameter().name(AMI_PARAMETER).send();
    match call.await.map_err(failed("ssm", "GetParameter")) {
        Ok(answer) => Ok(answer.parameter.and_then(|parameter| parameter.value)),
        Err(error) if error.is_gone() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Launches or starts the bastion, waits until it runs, and removes it from the security groups that the plan closes.
pub(crate) async fn ensure(job: &Job<'_>, inventory: &Inventory) -> Result<Instance, Error> {
    let bastion = ensure_running(job, inventory).await?;
    let is_closed = |other: &String| {
        job.closes.iter().any(|one| one.group_of(Resource::Instance, &bastion.id) == Some(other))
    };
    if !bastion.groups.iter().any(is_closed) {
        return Ok(bastion);
    }
    let groups: Vec<String> = bastion.groups.iter().filter(|group| !is_closed(group)).cloned().collect();
    let call = job.cloud.ec2.modify_instance_attribute().instance_id(&bastion.id);
    let call = call.set_groups(Some(groups.clone())).send();
    call.await.map_err(failed("ec2", "ModifyInstanceAttribute"))?;
    Ok(Instance { groups, ..bastion })
}

async fn ensure_running(job: &Job<'_>, inventory: &Inventory) -> Result<Instance, Error> {
    match inventory.bastion() {
        None => {
            let instance = run(job, inventory).await?;
            // The session step checks by itself whether the bastion runs.
            job.publish(Change::Instance(Box::new(instance.clone())));
            wait_until_running(job, instance).await
        }
        Some(bastion) if bastion.state == "running" => Ok(bastion.clone()),
        Some(bastion) if bastion.state == "pending" => wait_until_running(job, bastion.clone()).await,
        Some(bastion) => start(job, bastion.clone()).await,
    }
}

async fn run(job: &Job<'_>, inventory: &Inventory) -> Result<Instance, Error> {
    // All tries of this call, the SDK's included, send the same token, so a lost reply never makes two bastions. Each run
    // has a new token: EC2 remembers one for a day, and `up` after `down` would get the instance that was terminated.
    // The tag finds what a killed run has launched.
    let token = password::request_token();
    let call = request(job, inventory)?.client_token(token);
    let send = || {
        let call = call.clone().send();
        async { call.await.map_err(failed("ec2", "RunInstances")) }
    };
    let answer = retry_while(job.stop, PROFILE_KNOWN_WITHIN, is_unknown_yet, send).await?;
    let instance = answer.instances().first().map(read);
    let field = "instance";
    let instance = instance.ok_or(Error::Incomplete { service: "ec2", operation: "RunInstances", field })?;
    Ok(Instance { volume_gib: Some(job.stack.bastion.volume_gib), ..instance })
}

fn request(job: &Job<'_>, inventory: &Inventory) -> Result<RunInstancesFluentBuilder, Error> {
    let bastion = &job.stack.bastion;
    let image = inventory.image.as_ref();
    let image = image.ok_or_else(|| Error::Missing { what: format!("image at `{AMI_PARAMETER}`") })?;
    let profile = inventory.profile.as_ref().ok_or_else(|| missing(Resource::Profile))?;
    let ephemeral = job.options.ephemeral.as_ref();
    let script = job.options.user_data.clone();
    let script = script
        .unwrap_or_else(|| user_data::render(job.stack, inventory, ephemeral.map(|ephemeral| ephemeral.ttl)));
    let on_shutdown = if ephemeral.is_some() { ShutdownBehavior::Terminate } else { ShutdownBehavior::Stop };
    let tags = |kind| {
        let expiry = ephemeral.map(|ephemeral| (EXPIRY_TAG, ephemeral.expires_at.clone()));
        tag::ec2_with(job.stack, Resource::Instance, kind, expiry)
    };
    // The subnet assigns no public address, and the agent needs one to reach AWS.
    let interface = InstanceNetworkInterfaceSpecification::builder()
        .device_index(0)
        .associate_public_ip_address(true)
        .subnet_id(subnet_of(inventory, Resource::PublicSubnet)?)
        .groups(group_of(inventory, Resource::BastionGroup)?)
        .delete_on_termination(true)
        .build();
    let root = EbsBlockDevice::builder()
        .volume_type(VolumeType::Gp3)
        .volume_size(i32::try_from(bastion.volume_gib).unwrap_or(i32::MAX))
        .encrypted(true)
        .delete_on_termination(true)
        .build();
    // One hop: containers on the bastion cannot get the role's credentials.
    let metadata = InstanceMetadataOptionsRequest::builder()
        .http_endpoint(InstanceMetadataEndpointState::Enabled)
        .http_tokens(HttpTokensState::Required)
        .http_put_response_hop_limit(1)
        // The idle timer reads from a tag how long the bastion is kept; it has no other permission.
        .instance_metadata_tags(InstanceMetadataTagsState::Enabled)
        .build();
    Ok(job
        .cloud
        .ec2
        .run_instances()
        .image_id(image)
        .instance_type(InstanceType::from(bastion.instance_type.as_str()))
        .min_count(1)
        .max_count(1)
        .network_interfaces(interface)
        .block_device_mappings(BlockDeviceMapping::builder().device_name(ROOT_DEVICE).ebs(root).build())
        .metadata_options(metadata)
        .iam_instance_profile(IamInstanceProfileSpecification::builder().arn(&profile.arn).build())
        .instance_initiated_shutdown_behavior(on_shutdown)
        .user_data(STANDARD.encode(script))
        .tag_specifications(tags(ResourceType::Instance))
        .tag_specifications(tags(ResourceType::Volume))
        .tag_specifications(tags(ResourceType::NetworkInterface)))
}

/// EC2 knows a new profile, subnet or group only a moment after the call that made it.
fn is_unknown_yet(error: &Error) -> bool {
    let Error::Service { code, message, .. } = error else {
        return false;
    };
    let is_profile = code == "InvalidParameterValue" && message.to_lowercase().contains("instance profile");
    is_profile || error.is_gone() && !code.starts_with("InvalidAMIID")
}

async fn start(job: &Job<'_>, bastion: Instance) -> Result<Instance, Error> {
    let bastion = wait_for(job, bastion, &["stopped", "running"]).await?;
    if bastion.state == "running" {
        return Ok(bastion);
    }
    let call = job.cloud.ec2.start_instances().instance_ids(&bastion.id).send();
    call.await.map_err(failed("ec2", "StartInstances"))?;
    wait_until_running(job, bastion).await
}

async fn wait_until_running(job: &Job<'_>, instance: Instance) -> Result<Instance, Error> {
    wait_for(job, instance, &["running"]).await
}

async fn wait_for(job: &Job<'_>, instance: Instance, states: &[&str]) -> Result<Instance, Error> {
    let id = instance.id.as_str();
    let began = Instant::now();
    let found = wait_until(job, RUNNING_WITHIN, || async {
        let Some(answer) = describe(job.cloud, id).await? else {
            if began.elapsed() > VISIBLE_WITHIN {
                let status = "not known to EC2".to_owned();
                return Err(Error::Failed { subject: format!("bastion `{id}`"), status });
            }
            return Ok(Probe::Pending("not known to EC2 yet".to_owned()));
        };
        let found = read(&answer);
        if matches!(found.state.as_str(), "shutting-down" | "terminated") {
            return Err(Error::Failed { subject: format!("bastion `{id}`"), status: why(&answer) });
        }
        Ok(if states.contains(&found.state.as_str()) {
            Probe::Ready(found)
        } else {
            Probe::Pending(found.state)
        })
    })
    .await?;
    Ok(Instance { volume_gib: instance.volume_gib, ..found })
}

/// Returns the state with EC2's reason for it.
fn why(answer: &Answer) -> String {
    let state = read(answer).state;
    match answer.state_reason().and_then(|reason| reason.message()) {
        Some(reason) => format!("{state} ({reason})"),
        None => state,
    }
}

pub(crate) async fn describe(cloud: &Cloud, id: &str) -> Result<Option<Answer>, Error> {
    let call = cloud.ec2.describe_instances().instance_ids(id).send();
    match call.await.map_err(failed("ec2", "DescribeInstances")) {
        Ok(answer) => {
            let reservations = answer.reservations.unwrap_or_default().into_iter();
            Ok(reservations.flat_map(|reservation| reservation.instances.unwrap_or_default()).next())
        }
        Err(error) if error.is_gone() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the instance as it is now; `None` if it is terminated or unknown.
pub(crate) async fn find(cloud: &Cloud, id: &str) -> Result<Option<Instance>, Error> {
    let found = describe(cloud, id).await?.as_ref().map(read);
    Ok(found.filter(|instance| instance.state != "terminated"))
}

/// Returns when the profile was attached to the instance, RFC 3339, if EC2 says.
pub(crate) async fn profile_attached_at(cloud: &Cloud, id: &str) -> Result<Option<String>, Error> {
    let call = cloud.ec2.describe_iam_instance_profile_associations();
    let call = call.filters(tag::filter("instance-id", id)).send();
    let answer = call.await.map_err(failed("ec2", "DescribeIamInstanceProfileAssociations"))?;
    let found = answer.iam_instance_profile_associations().iter().find_map(|link| link.timestamp());
    Ok(found.and_then(|time| time.fmt(aws_sdk_ec2::primitives::DateTimeFormat::DateTime).ok()))
}

/// Returns the console output that EC2 has kept.
pub(crate) async fn console(cloud: &Cloud, id: &str) -> Result<String, Error> {
    let call = cloud.ec2.get_console_output().instance_id(id).send();
    let answer = call.await.map_err(failed("ec2", "GetConsoleOutput"))?;
    let bytes = STANDARD.decode(answer.output().unwrap_or_default().trim()).unwrap_or_default();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Terminates the instance, and waits until it and its network interface no longer exist.
pub(crate) async fn destroy(job: &Job<'_>, id: &str) -> Result<DeletionProof, Error> {
    delete(job, || async {
        let call = job.cloud.ec2.terminate_instances().instance_ids(id).send();
        call.await.map_err(failed("ec2", "TerminateInstances"))
    })
    .await?;
    let answer = wait_until(job, RUNNING_WITHIN, || async {
        let interfaces = network_interface::list(job.cloud, tag::filter("attachment.instance-id", id));
        let (instance, interfaces) = try_join(describe(job.cloud, id), interfaces).await?;
        let state = match instance.as_ref().map(read) {
            Some(instance) if instance.state != "terminated" => return Ok(Probe::Pending(instance.state)),
            Some(instance) => instance.state,
            None => "none".to_owned(),
        };
        Ok(if interfaces.is_empty() {
            Probe::Ready(state)
        } else {
            Probe::Pending("its network interface is still there".to_owned())
        })
    })
    .await?;
    Ok(deletion_proof("ec2", "DescribeInstances", answer))
}

pub(crate) fn read(instance: &Answer) -> Instance {
    // If the groups were given with the interface, some answers have no groups for the instance.
    let primary = instance.network_interfaces().iter().find(|interface| {
        interface.attachment().and_then(|attachment| attachment.device_index()).unwrap_or(0) == 0
    });
    let of_interface = primary.map(|interface| interface.groups()).unwrap_or_default();
    let groups = if of_interface.is_empty() { instance.security_groups() } else { of_interface };
    let text = |value: Option<&str>| value.filter(|text| !text.is_empty()).map(str::to_owned);
    let launched_at = instance
        .launch_time()
        .and_then(|time| time.fmt(aws_sdk_ec2::primitives::DateTimeFormat::DateTime).ok());
    let tag = |key| {
        let tag = instance.tags().iter().find(|tag| tag.key() == Some(key));
        tag.and_then(|tag| tag.value()).map(str::to_owned)
    };
    let tags_shown = instance.metadata_options().and_then(|options| options.instance_metadata_tags());
    Instance {
        id: instance.instance_id().unwrap_or_default().to_owned(),
        state: instance
            .state()
            .and_then(|state| state.name())
            .map_or("unknown", |name| name.as_str())
            .to_owned(),
        instance_type: instance.instance_type().map_or("unknown", |kind| kind.as_str()).to_owned(),
        subnet: text(instance.subnet_id()),
        public_ip: text(instance.public_ip_address()),
        profile_arn: text(instance.iam_instance_profile().and_then(|profile| profile.arn())),
        groups: groups.iter().filter_map(|group| group.group_id()).map(str::to_owned).collect(),
        launched_at,
        rebooted_at: tag::value(instance.tags(), REBOOT_TAG),
        volume_gib: None,
        keep_until: tag(KEEP_TAG),
        expires_at: tag(EXPIRY_TAG),
        reads_tags: tags_shown == Some(&InstanceMetadataTagsState::Enabled),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: &str, message: &str) -> Error {
        Error::Service {
            service: "ec2",
            operation: "RunInstances",
            status: 400,
            code: code.to_owned(),
            message: message.to_owned(),
            request_id: None,
        }
    }

    #[test]
    fn only_a_profile_or_a_part_that_is_not_known_yet_is_tried_again() {
        let message =
            "Value (x) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name";
        assert!(is_unknown_yet(&refused("InvalidParameterValue", message)));
        assert!(is_unknown_yet(&refused("InvalidSubnetID.NotFound", "no")));
        assert!(!is_unknown_yet(&refused("InvalidParameterValue", "the volume is too small")));
        assert!(!is_unknown_yet(&refused("InvalidAMIID.NotFound", "no")));
        assert!(!is_unknown_yet(&refused("InsufficientInstanceCapacity", "no")));
    }
}
