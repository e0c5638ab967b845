//! The bastion's power: who uses it, how it is stopped, and what keeps it from stopping by itself.

use std::time::Duration;

use aws_sdk_ec2::types::{Filter, Reservation, Tag};
use aws_sdk_ssm::types::{Session as Answer, SessionFilter, SessionFilterKey, SessionState};
use serde::Serialize;
use stack::inventory::Instance;
use stack::spec::{EXPIRY_TAG, KEEP_TAG, STACK_TAG};
use stack::{Event, Events};
use tokio::time::Instant;

use crate::core::backoff::Backoff;
use crate::error::failed;
use crate::kind::instance;
use crate::{Cloud, Error, Stop};

/// AWS's documents give no limit; a machine that hangs is powered off after some minutes.
const STOPPED_WITHIN: Duration = Duration::from_secs(600);
/// How many times in a row a look may go unanswered.
const UNANSWERED_AT_MOST: u32 = 3;

/// Somebody's session with an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Connected {
    /// The session's id.
    pub session_id: String,
    /// The ARN of who started it.
    pub owner: String,
    /// When it was started, RFC 3339.
    pub since: Option<String>,
}

/// Returns the sessions that the instance has now, this program's own included.
///
/// # Errors
/// As AWS says: what could not be seen is not taken for nobody.
pub async fn connected(cloud: &Cloud, instance_id: &str) -> Result<Vec<Connected>, Error> {
    let filter = SessionFilter::builder().key(SessionFilterKey::TargetId).value(instance_id).build();
    let filter = filter.expect("invariant: the filter has a key and a value");
    let call = cloud.ssm.describe_sessions().state(SessionState::Active).filters(filter);
    let sessions: Result<Vec<Answer>, _> = call.into_paginator().items().send().collect().await;
    let sessions = sessions.map_err(failed("ssm", "DescribeSessions"))?;
    let row = |session: &Answer| Connected {
        session_id: session.session_id().unwrap_or_default().to_owned(),
        owner: session.owner().unwrap_or("unknown").to_owned(),
        since: session
            .start_date()
            .and_then(|date| date.fmt(aws_sdk_ssm::primitives::DateTimeFormat::DateTime).ok()),
    };
    Ok(sessions.iter().map(row).collect())
}

/// Stops the instance and waits until it is stopped. One that is gone, or goes, counts as stopped.
///
/// # Errors
/// [`Error::TimedOut`] holds the last state seen.
pub async fn stop(cloud: &Cloud, instance_id: &str, events: &Events, stop: &Stop) -> Result<(), Error> {
    let call = cloud.ec2.stop_instances().instance_ids(instance_id).send();
    match call.await.map_err(failed("ec2", "StopInstances")) {
        Err(error) if !error.is_gone() => return Err(error),
        Ok(_) | Err(_) => (),
    }
    let began = Instant::now();
    let mut backoff = Backoff::default();
    let (mut unanswered, mut last) = (0, String::new());
    loop {
        match instance::find(cloud, instance_id).await {
            Ok(None) => return Ok(()),
            Ok(Some(found)) if matches!(found.state.as_str(), "stopped" | "shutting-down") => return Ok(()),
            Ok(Some(found)) => {
                unanswered = 0;
                if found.state != last {
                    let subject = "bastion".to_owned();
                    events.emit(Event::StepWaiting { subject, status: found.state.clone() });
                    last = found.state;
                }
            }
            Err(error) if error.is_ambiguous() && unanswered < UNANSWERED_AT_MOST => unanswered += 1,
            Err(error) => return Err(error),
        }
        let waited = began.elapsed();
        if waited >= STOPPED_WITHIN {
            let subject = format!("bastion `{instance_id}`");
            return Err(Error::TimedOut { subject, status: last, waited });
        }
        stop.sleep(backoff.pause()).await?;
    }
}

/// Returns the instance as it is now, without its volume's size; `None` if it is gone.
///
/// # Errors
/// As AWS says.
pub async fn find(cloud: &Cloud, instance_id: &str) -> Result<Option<Instance>, Error> {
    instance::find(cloud, instance_id).await
}

/// Says until when the instance is not to stop by itself; `None` takes the word back.
///
/// # Errors
/// As AWS says.
pub async fn keep(cloud: &Cloud, instance_id: &str, until: Option<&str>) -> Result<(), Error> {
    let tag = Tag::builder().key(KEEP_TAG).set_value(until.map(str::to_owned)).build();
    match until {
        Some(_) => {
            let call = cloud.ec2.create_tags().resources(instance_id).tags(tag).send();
            call.await.map_err(failed("ec2", "CreateTags")).map(drop)
        }
        None => {
            let call = cloud.ec2.delete_tags().resources(instance_id).tags(tag).send();
            call.await.map_err(failed("ec2", "DeleteTags")).map(drop)
        }
    }
}

/// A bastion with a date on which it ends, of any stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ephemeral {
    /// The instance.
    pub id: String,
    /// The stack that it belongs to.
    pub stack: String,
    /// EC2's own word for its state.
    pub state: String,
    /// The tag's value, which anybody may have changed.
    pub expires_at: String,
}

/// Returns the region's bastions with such a date, of that stack or of all; what goes or is gone is not among them.
///
/// # Errors
/// As AWS says: what could not be seen is not taken for absent.
pub async fn ephemeral(cloud: &Cloud, of: Option<&str>) -> Result<Vec<Ephemeral>, Error> {
    let filter = |name: &str, value: &str| Filter::builder().name(name).values(value).build();
    let call = cloud.ec2.describe_instances().filters(filter("tag-key", EXPIRY_TAG));
    let call = match of {
        Some(stack) => call.filters(filter(&format!("tag:{STACK_TAG}"), stack)),
        None => call.filters(filter("tag-key", STACK_TAG)),
    };
    let reservations: Result<Vec<Reservation>, _> = call.into_paginator().items().send().collect().await;
    let reservations = reservations.map_err(failed("ec2", "DescribeInstances"))?;
    let mut found = Vec::new();
    for instance in reservations.iter().flat_map(Reservation::instances) {
        let state = instance.state().and_then(|state| state.name()).map_or("unknown", |name| name.as_str());
        if matches!(state, "shutting-down" | "terminated") {
            continue;
        }
        let tag = |key| {
            let found = instance.tags().iter().find(|tag| tag.key() == Some(key));
            found.and_then(|tag| tag.value()).unwrap_or_default().to_owned()
        };
        found.push(Ephemeral {
            id: instance.instance_id().unwrap_or_default().to_owned(),
            stack: tag(STACK_TAG),
            state: state.to_owned(),
            expires_at: tag(EXPIRY_TAG),
        });
    }
    found.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(found)
}

/// Terminates the instance; one that is gone counts as terminated. It is not waited for.
///
/// # Errors
/// As AWS says.
pub async fn terminate(cloud: &Cloud, instance_id: &str) -> Result<(), Error> {
    let call = cloud.ec2.terminate_instances().instance_ids(instance_id).send();
    match call.await.map_err(failed("ec2", "TerminateInstances")) {
        Err(error) if !error.is_gone() => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}
