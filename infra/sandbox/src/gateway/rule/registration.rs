//! When agents register with Session Manager.
//!
//! An agent asks once after its machine has booted. Refused, it sleeps for minutes, and only a reboot makes it
//! ask sooner. As on AWS, launch an instance only when its role, route and rule exist.

use std::sync::Arc;
use std::time::Duration;

use crate::gateway::Error;
use crate::gateway::state::State;
use crate::gateway::upstream::inventory::Instance;

/// The ping status of an instance at Session Manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PingStatus {
    /// Its agent has never registered, or the instance is gone.
    Unknown,
    /// Its agent had registered and is gone.
    Lost,
    /// Its agent is connected.
    Online,
}

/// Starts the agent's clock: the machine has booted.
pub(crate) fn boot(state: &Arc<State>, region: &str, id: &str) {
    let boot = state.agents.boot(id, state.options.session_refusals);
    state.options.machines.boot(id);
    state.tasks.spawn(ask_until_registered(Arc::clone(state), region.to_owned(), id.to_owned(), boot));
}

/// Stops the agent's clock: the machine is off.
pub(crate) fn halt(state: &State, id: &str) {
    state.agents.halt(id);
    state.options.machines.halt(id);
}

async fn ask_until_registered(state: Arc<State>, region: String, id: String, boot: u64) {
    let mut pause = state.options.registration_delay;
    loop {
        tokio::time::sleep(pause).await;
        pause = state.options.agent_retry;
        if let Some(remote) = state.options.agent.remote() {
            state.agents.note(&id, boot, "its agent has not connected to the gateway");
            remote.wait_until_connected(&id).await;
        }
        let answer = state.network.registration(&region, &id).await;
        if !state.agents.is_latest(&id, boot) {
            return;
        }
        match answer {
            Ok(Some((_, Ok(())))) => return state.agents.register(&id, boot),
            Ok(Some((_, Err(obstacle)))) => state.agents.note(&id, boot, &obstacle),
            Ok(None) => return,
            // EC2 did not answer this time; the agent asks again soon.
            Err(error) => {
                state.agents.note(&id, boot, &error.to_string());
                pause = Duration::from_millis(100);
            }
        }
    }
}

/// Returns the status of an instance. One that was not launched through the gateway boots now.
pub(crate) async fn observe(
    state: &Arc<State>,
    region: &str,
    id: &str,
) -> Result<(PingStatus, Option<Instance>), Error> {
    let known = state.agents.find(id);
    let Some((true, connected)) = known else {
        if known.is_none() && state.network.registration(region, id).await?.is_some() {
            boot(state, region, id);
        }
        return Ok((PingStatus::Unknown, None));
    };
    match state.network.registration(region, id).await? {
        None => Ok((PingStatus::Unknown, None)),
        Some((instance, _)) if instance.is_terminated() => Ok((PingStatus::Unknown, None)),
        Some((instance, Ok(()))) if connected && is_there(state, id) => {
            Ok((PingStatus::Online, Some(instance)))
        }
        Some((instance, _)) => Ok((PingStatus::Lost, Some(instance))),
    }
}

/// Tells whether the agent's process is connected. An agent in this process always is.
fn is_there(state: &State, id: &str) -> bool {
    state.options.agent.remote().is_none_or(|remote| remote.is_connected(id))
}
