//! Waits until the bastion takes a session, and finds out why it does not.

use std::time::Duration;

use futures_util::future::join;
use stack::diagnosis;
use stack::finding::{Cause, Finding};
use stack::inventory::{Agent, Instance, Inventory};
use stack::{Diagnosis, Event, Events, Resource, Stack};
use tokio::time::Instant;

use crate::core::backoff::Backoff;
use crate::core::job::{Job, missing};
use crate::core::wait::Probe;
use crate::error::chain;
use crate::kind::instance;
use crate::session::{Purpose, find_agent, start, terminate};
use crate::{Cloud, Depth, Error, Stop, examine, reboot};

/// A healthy agent registers within this time; after it, we look for a reason.
const GRACE: Duration = Duration::from_secs(10);
/// A reason that is still there after this time will not go away by itself.
const CONFIRM_AFTER: Duration = Duration::from_secs(5);
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(30);
const UNANSWERED_AT_MOST: u32 = 3;

/// How long to wait, and what to do about an agent that sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadyWait {
    /// The limit, from the call on.
    pub limit: Duration,
    /// What to do about an agent that sleeps.
    pub asleep: Asleep,
}

/// What to do about an agent that was refused at boot and sleeps, although nothing blocks it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asleep {
    /// Reboot its machine, once.
    IsWoken,
    /// Wait for it.
    IsLeft,
}

/// Waits until a session to the instance can be opened, and returns its agent.
///
/// An agent that is online is not enough: for some seconds more, AWS refuses sessions with `TargetNotConnected`. So this
/// starts a session and ends it.
///
/// # Errors
/// [`Error::NotReachable`] holds the last status seen and the reasons found. It comes long before `limit` if a reason is
/// found that does not go away.
pub async fn wait_until_openable(
    cloud: &Cloud,
    stack: &Stack,
    instance: &str,
    wait: ReadyWait,
    events: &Events,
    stop: &Stop,
) -> Result<Agent, Error> {
    let opened = wait_until_opened(cloud, stack, instance, wait, events, stop).await?;
    end_proof(cloud, &opened.session_id, events).await;
    Ok(opened.agent)
}

/// A session that was started as a proof and must be ended.
struct Opened {
    session_id: String,
    agent: Agent,
}

/// As [`wait_until_openable`], but the caller must end the session.
async fn wait_until_opened(
    cloud: &Cloud,
    stack: &Stack,
    instance: &str,
    wait: ReadyWait,
    events: &Events,
    stop: &Stop,
) -> Result<Opened, Error> {
    let began = Instant::now();
    let mut backoff = Backoff::new(Duration::from_millis(150), Duration::from_secs(2));
    let mut unanswered = 0;
    let mut last_status = String::new();
    let mut suspects: Vec<Finding> = Vec::new();
    let mut look_at = GRACE;
    let ReadyWait { limit, mut asleep } = wait;
    // Usually there is nothing to wait for, and one round of calls is enough.
    let mut is_first = true;
    loop {
        let probed = if std::mem::take(&mut is_first) {
            probe_at_once(cloud, stack, instance).await
        } else {
            probe(cloud, stack, instance).await
        };
        match probed {
            Ok(Probe::Ready(opened)) => return Ok(opened),
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
            // A failed look must not hide that the time is over.
            let found = look(cloud, stack, instance).await.map(|diagnosis| diagnosis.findings());
            return refuse(found.unwrap_or_default());
        }
        if waited >= look_at {
            let diagnosis = look(cloud, stack, instance).await?;
            if asleep == Asleep::IsWoken && sleeps(&diagnosis) {
                asleep = Asleep::IsLeft;
                reboot(cloud, instance, events, stop).await?;
            }
            let found = obstacles(diagnosis);
            if !found.is_empty() && found == suspects {
                return refuse(found);
            }
            look_at = waited + if found.is_empty() { LOOK_AGAIN_AFTER } else { CONFIRM_AFTER };
            suspects = found;
        }
        stop.sleep(backoff.pause()).await?;
    }
}

/// Waits until a session to the bastion can be opened, and returns the bastion and its agent.
pub(crate) async fn ensure(job: &Job<'_>, inventory: &Inventory) -> Result<(Instance, Agent), Error> {
    let bastion = inventory.bastion().ok_or_else(|| missing(Resource::Instance))?;
    let wait = ReadyWait { limit: job.stack.bastion.ready_within, asleep: Asleep::IsWoken };
    let opened = wait_until_opened(job.cloud, job.stack, &bastion.id, wait, job.events, job.stop).await?;
    let ending = end_proof(job.cloud, &opened.session_id, job.events);
    let ((), found) = join(ending, instance::find(job.cloud, &bastion.id)).await;
    let found = match found {
        Ok(found) => found.ok_or_else(|| missing(Resource::Instance))?,
        // The bastion took a session, so the step is done even if this look fails.
        Err(_) => bastion.clone(),
    };
    Ok((Instance { volume_gib: bastion.volume_gib, ..found }, opened.agent))
}

/// Ends a session that was opened as a proof. A failure is only a warning: the proof is valid all the same.
async fn end_proof(cloud: &Cloud, session_id: &str, events: &Events) {
    if let Err(error) = terminate(cloud, session_id).await {
        events.warn(format!(
            "session {session_id} could not be ended: {}; it ends by itself when its idle time is over, 20 minutes unless \
             the account says otherwise",
            chain(&error)
        ));
    }
}

/// Looks and tries at the same time.
async fn probe_at_once(cloud: &Cloud, stack: &Stack, instance: &str) -> Result<Probe<Opened>, Error> {
    let (agent, session) = join(find_agent(cloud, instance), try_session(cloud, stack, instance)).await;
    match (agent, session) {
        (Ok(Some(agent)), Ok(Some(session_id))) if is_online(&agent) => {
            Ok(Probe::Ready(Opened { session_id, agent }))
        }
        (Ok(agent), Ok(None)) => Ok(Probe::Pending(status(agent.as_ref()))),
        // The agent came online between the two answers; the next look shows its state.
        (agent, Ok(Some(session_id))) => {
            // If it cannot be ended, it ends by itself; that says nothing about the agent.
            drop(terminate(cloud, &session_id).await);
            agent.map(|agent| Probe::Pending(status(agent.as_ref())))
        }
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

/// Looks, and tries a session only if the agent is online.
async fn probe(cloud: &Cloud, stack: &Stack, instance: &str) -> Result<Probe<Opened>, Error> {
    let agent = find_agent(cloud, instance).await?;
    match agent {
        Some(agent) if is_online(&agent) => match try_session(cloud, stack, instance).await? {
            Some(session_id) => Ok(Probe::Ready(Opened { session_id, agent })),
            None => Ok(Probe::Pending(status(Some(&agent)))),
        },
        agent => Ok(Probe::Pending(status(agent.as_ref()))),
    }
}

fn is_online(agent: &Agent) -> bool {
    agent.ping_status == "Online"
}

/// Returns the status of an agent that takes no session.
fn status(agent: Option<&Agent>) -> String {
    match agent {
        None => "the agent has not registered with Systems Manager".to_owned(),
        Some(agent) if is_online(agent) => {
            "the agent is online but takes no session (TargetNotConnected)".to_owned()
        }
        Some(agent) => format!("the agent is {}", agent.ping_status),
    }
}

/// Starts a session and returns its id; `None` if the agent does not take one.
async fn try_session(cloud: &Cloud, stack: &Stack, instance: &str) -> Result<Option<String>, Error> {
    // The agent connects only when a stream is opened, so any target will do, if it uses the document of tunnels.
    let anywhere = Purpose::Port { host: stack.database.identifier.clone(), port: stack.database.port };
    match start(cloud, instance, &anywhere).await {
        Ok(session) => Ok(Some(session.session_id)),
        Err(error) if error.code() == Some("TargetNotConnected") => Ok(None),
        Err(error) => Err(error),
    }
}

/// Looks for reasons. An instance that no longer exists will never take a session.
async fn look(cloud: &Cloud, stack: &Stack, instance: &str) -> Result<Diagnosis, Error> {
    if instance::find(cloud, instance).await?.is_none() {
        let (subject, status) = (format!("bastion `{instance}`"), "gone".to_owned());
        return Err(Error::Failed { subject, status });
    }
    let facts = Box::pin(examine(cloud, stack, Depth::Bastion)).await?;
    Ok(diagnosis::bastion(stack, &facts))
}

fn sleeps(diagnosis: &Diagnosis) -> bool {
    diagnosis.root().is_some_and(|link| link.cause == Some(Cause::AgentAsleep))
}

/// Returns what blocks the agent: everything that is broken except the agent itself.
fn obstacles(mut diagnosis: Diagnosis) -> Vec<Finding> {
    diagnosis.links.retain(|link| link.name != diagnosis::AGENT);
    diagnosis.findings()
}
