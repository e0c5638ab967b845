use std::time::Duration;

use stack::finding::Finding;
use stack::inventory::Agent;
use stack::{Event, Events, Resource, Stack, finding};
use tokio::time::Instant;

use super::{Purpose, find_agent, start, terminate};
use crate::poll::{Backoff, Probe};
use crate::{Cloud, Error, Stop, instance, observe};

/// A healthy agent registers within this time; later it is worth looking for a reason.
const GRACE: Duration = Duration::from_secs(10);
/// A reason that is still there after this time does not go away by itself.
const CONFIRM_AFTER: Duration = Duration::from_secs(5);
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(30);
const UNANSWERED_AT_MOST: u32 = 3;

/// Waits until a session to the instance can really be opened, and returns its agent.
///
/// An agent that is online is not enough: for some seconds more, sessions are refused as `TargetNotConnected`. So a
/// session is started and ended again. `limit` counts from this call.
///
/// # Errors
/// [`Error::NotReachable`] holds the last status seen and the reasons found, and comes long before `limit` where a
/// reason is found that does not go away.
pub async fn wait_until_openable(
    cloud: &Cloud,
    stack: &Stack,
    instance: &str,
    limit: Duration,
    events: &Events,
    stop: &Stop,
) -> Result<Agent, Error> {
    let began = Instant::now();
    let mut backoff = Backoff::new(Duration::from_millis(150), Duration::from_secs(2));
    let mut unanswered = 0;
    let mut last_status = String::new();
    let mut suspects: Vec<Finding> = Vec::new();
    let mut look_at = GRACE;
    loop {
        match probe(cloud, stack, instance).await {
            Ok(Probe::Ready(agent)) => return Ok(agent),
            Ok(Probe::Pending(status)) => {
                unanswered = 0;
                if status != last_status {
                    let subject = Resource::Session.title().to_owned();
                    events.emit(Event::StepWaiting { subject, status: status.clone() });
                    last_status = status;
                }
            }
            Err(error) if error.is_ambiguous() && unanswered < UNANSWERED_AT_MOST => unanswered += 1,
            Err(error) => return Err(error),
        }
        let waited = began.elapsed();
        let refuse = |findings| {
            let (instance, last_status) = (instance.to_owned(), last_status.clone());
            Err(Error::NotReachable { instance, last_status, findings, waited })
        };
        if waited >= limit {
            // A failed look must not hide that time is over.
            let findings = findings(cloud, stack, instance).await.unwrap_or_default();
            return refuse(findings);
        }
        if waited >= look_at {
            let found = findings(cloud, stack, instance).await?;
            if !found.is_empty() && found == suspects {
                return refuse(found);
            }
            look_at = waited + if found.is_empty() { LOOK_AGAIN_AFTER } else { CONFIRM_AFTER };
            suspects = found;
        }
        stop.sleep(backoff.pause()).await?;
    }
}

async fn probe(cloud: &Cloud, stack: &Stack, instance: &str) -> Result<Probe<Agent>, Error> {
    let agent = match find_agent(cloud, instance).await? {
        None => return Ok(Probe::Pending("the agent has not registered with Systems Manager".to_owned())),
        Some(agent) if agent.ping_status != "Online" => {
            return Ok(Probe::Pending(format!("the agent is {}", agent.ping_status)));
        }
        Some(agent) => agent,
    };
    // Nothing is dialled until a stream is opened, so any target will do.
    let anywhere = Purpose::Port { host: "localhost".to_owned(), port: stack.database.port };
    match start(cloud, instance, &anywhere).await {
        Ok(session) => {
            terminate(cloud, &session.session_id).await?;
            Ok(Probe::Ready(agent))
        }
        Err(error) if error.code() == Some("TargetNotConnected") => {
            Ok(Probe::Pending("the agent is online but takes no session (TargetNotConnected)".to_owned()))
        }
        Err(error) => Err(error),
    }
}

/// Looks for reasons. An instance that is gone takes no session, however long one waits for it.
async fn findings(cloud: &Cloud, stack: &Stack, instance: &str) -> Result<Vec<Finding>, Error> {
    if instance::find(cloud, instance).await?.is_none() {
        let (subject, status) = (format!("bastion `{instance}`"), "gone".to_owned());
        return Err(Error::Failed { subject, status });
    }
    let inventory = Box::pin(observe(cloud, stack)).await?;
    Ok(finding::bastion(stack, &inventory))
}
