//! Which agents have registered with Session Manager, and why others were refused.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
struct Known {
    boots: u64,
    /// Whether it ever registered: Session Manager lists a machine until it is terminated.
    registered: bool,
    /// Whether it has registered since this boot.
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

    /// Notes a boot and returns its number. That many sessions are refused after it.
    pub(crate) fn boot(&self, id: &str, refusals: u32) -> u64 {
        let mut agents = self.lock();
        let known = agents.entry(id.to_owned()).or_default();
        known.boots += 1;
        known.connected = false;
        known.refusals = refusals;
        known.boots
    }

    /// Notes that the machine is off.
    pub(crate) fn halt(&self, id: &str) {
        if let Some(known) = self.lock().get_mut(id) {
            known.boots += 1;
            known.connected = false;
        }
    }

    /// Notes that the agent of that boot has registered.
    pub(crate) fn register(&self, id: &str, boot: u64) {
        if let Some(known) = self.lock().get_mut(id).filter(|known| known.boots == boot) {
            known.registered = true;
            known.connected = true;
            known.obstacle = None;
        }
    }

    /// Tells whether that boot is the latest.
    pub(crate) fn is_latest(&self, id: &str, boot: u64) -> bool {
        self.lock().get(id).is_some_and(|known| known.boots == boot)
    }

    /// Notes why the agent of that boot is not registered yet.
    pub(crate) fn note(&self, id: &str, boot: u64, obstacle: &str) {
        if let Some(known) = self.lock().get_mut(id).filter(|known| known.boots == boot) {
            known.obstacle = Some(obstacle.to_owned());
        }
    }

    /// Returns whether an agent has ever registered and whether it is connected; absent when it is not known.
    pub(crate) fn find(&self, id: &str) -> Option<(bool, bool)> {
        self.lock().get(id).map(|known| (known.registered, known.connected))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
