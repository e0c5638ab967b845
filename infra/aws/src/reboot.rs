//! Reboots the bastion.

use std::time::Duration;

use jiff::Timestamp;
use stack::spec::REBOOT_TAG;
use stack::{Event, Events, Resource};
use tokio::time::Instant;

use crate::core::backoff::Backoff;
use crate::error::failed;
use crate::{Cloud, Error, Stop, session};

/// A reboot is carried out a moment after it is asked for.
const GOES_DOWN_WITHIN: Duration = Duration::from_secs(20);

/// Reboots an instance and returns once its agent is not connected any more, if it was.
///
/// EC2 does not tell when an instance was rebooted, so a tag says it.
///
/// # Errors
/// As AWS says, or [`Error::Interrupted`].
pub async fn reboot(cloud: &Cloud, instance_id: &str, events: &Events, stop: &Stop) -> Result<(), Error> {
    let was_connected = is_connected(cloud, instance_id).await;
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let tag = aws_sdk_ec2::types::Tag::builder().key(REBOOT_TAG).value(now).build();
    let call = cloud.ec2.create_tags().resources(instance_id).tags(tag).send();
    if let Err(error) = call.await.map_err(failed("ec2", "CreateTags")) {
        // Only `doctor` misses it: its clock then starts at the launch.
        events.warn(format!("the time of the reboot is not noted down: {error}"));
    }
    let call = cloud.ec2.reboot_instances().instance_ids(instance_id).send();
    call.await.map_err(failed("ec2", "RebootInstances"))?;
    let subject = Resource::Instance.title().to_owned();
    events.emit(Event::StepWaiting { subject, status: "reboots".to_owned() });
    // A session that is started before the machine goes down proves nothing.
    let (began, mut backoff) =
        (Instant::now(), Backoff::new(Duration::from_millis(50), Duration::from_secs(1)));
    while was_connected && began.elapsed() < GOES_DOWN_WITHIN && is_connected(cloud, instance_id).await {
        stop.sleep(backoff.pause()).await?;
    }
    Ok(())
}

/// Tells whether the agent is known to be connected.
async fn is_connected(cloud: &Cloud, instance_id: &str) -> bool {
    session::connection_status(cloud, instance_id).await.is_ok_and(|status| status == "connected")
}
