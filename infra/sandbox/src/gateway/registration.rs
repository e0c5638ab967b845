//! The clock by which agents register with Session Manager.
//!
//! An agent asks once after its machine has booted. Refused, it sleeps for minutes, and only a reboot makes it
//! ask sooner: whoever launches the instance before its role, route or rule is there pays for it, as on AWS.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Error;
use super::inventory::Instance;
use super::state::State;

/// How an instance looks to Session Manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Its agent has never registered, or the instance is gone.
    Unknown,
    /// Its agent had registered and is not there any more.
    Lost,
    /// Its agent is there.
    Online,
}

#[derive(Debug, Default)]
struct Known {
    boots: u64,
    /// Whether it ever was: a machine that Session Manager has seen stays in the list until it is terminated.
    registered: bool,
    /// Whether it is since this boot.
    connected: bool,
    /// How many sessions are still refused though the agent is online.
    refusals: u32,
    obstacle: Option<String>,
}

/// The agents of all instances.
#[derive(Debug, Default)]
pub(crate) struct Agents(Mutex<HashMap<String, Known>>);

impl Agents {
    /// Forgets every agent and returns the ids of their instances.
    pub(crate) fn clear(&self) -> Vec<String> {
        std::mem::take(&mut *self.lock()).into_keys().collect()
    }

    /// Returns why the agent of each unregistered instance was refused when it last asked.
    pub(crate) fn obstacles(&self) -> Vec<(String, String)> {
        let agents = self.lock();
        agents.iter().filter_map(|(id, known)| Some((id.clone(), known.obstacle.clone()?))).collect()
    }

    /// Counts an attempt to connect and tells whether it gets through.
    pub(crate) fn is_ready(&self, id: &str) -> bool {
        let mut agents = self.lock();
        let Some(known) = agents.get_mut(id) else { return false };
        if known.refusals > 0 {
            known.refusals -= 1;
            return false;
        }
        known.connected
    }

    /// Notes why the agent of that boot is not registered yet.
    fn note(&self, id: &str, boot: u64, obstacle: &str) {
        if let Some(known) = self.lock().get_mut(id).filter(|known| known.boots == boot) {
            known.obstacle = Some(obstacle.to_owned());
        }
    }

    /// Returns whether an agent has ever registered and whether it is connected; absent when it is not known.
    fn find(&self, id: &str) -> Option<(bool, bool)> {
        self.lock().get(id).map(|known| (known.registered, known.connected))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the agent's clock: the machine has booted.
pub(crate) fn boot(state: &Arc<State>, region: &str, id: &str) {
    let boot = {
        let mut agents = state.agents.lock();
        let known = agents.entry(id.to_owned()).or_default();
        known.boots += 1;
        known.connected = false;
        known.refusals = state.options.session_refusals;
        known.boots
    };
    state.options.machines.boot(id);
    state.tasks.spawn(ask_until_registered(Arc::clone(state), region.to_owned(), id.to_owned(), boot));
}

/// Stops the agent's clock: the machine is off.
pub(crate) fn halt(state: &State, id: &str) {
    if let Some(known) = state.agents.lock().get_mut(id) {
        known.boots += 1;
        known.connected = false;
    }
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
        let mut agents = state.agents.lock();
        let Some(known) = agents.get_mut(&id).filter(|known| known.boots == boot) else { return };
        match answer {
            Ok(Some((_, Ok(())))) => {
                known.registered = true;
                known.connected = true;
                known.obstacle = None;
                return;
            }
            Ok(Some((_, Err(obstacle)))) => known.obstacle = Some(obstacle),
            Ok(None) => return,
            // EC2 was not there for once; that is not the agent's fault.
            Err(error) => {
                known.obstacle = Some(error.to_string());
                pause = Duration::from_millis(100);
            }
        }
    }
}

/// Returns how an instance looks now. One that was launched behind the gateway's back boots at this look.
pub(crate) async fn observe(
    state: &Arc<State>,
    region: &str,
    id: &str,
) -> Result<(Standing, Option<Instance>), Error> {
    let known = state.agents.find(id);
    let Some((true, connected)) = known else {
        if known.is_none() && state.network.registration(region, id).await?.is_some() {
            boot(state, region, id);
        }
        return Ok((Standing::Unknown, None));
    };
    match state.network.registration(region, id).await? {
        None => Ok((Standing::Unknown, None)),
        Some((instance, _)) if instance.is_terminated() => Ok((Standing::Unknown, None)),
        Some((instance, Ok(()))) if connected && is_there(state, id) => {
            Ok((Standing::Online, Some(instance)))
        }
        Some((instance, _)) => Ok((Standing::Lost, Some(instance))),
    }
}

/// Tells whether the agent's process is there: one in this process always is.
fn is_there(state: &State, id: &str) -> bool {
    state.options.agent.remote().is_none_or(|remote| remote.is_connected(id))
}
