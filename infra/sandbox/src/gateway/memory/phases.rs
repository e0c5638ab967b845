//! The phase of each database. moto creates and deletes at once; RDS takes minutes.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

/// The phase of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Creating,
    Available,
    Deleting,
    /// Until RDS starts it by itself.
    Stopped(Timestamp),
    /// It did not start; the reason.
    Failed(String),
}

/// The phases of all databases, by [`place`]: two regions may have the same identifier.
#[derive(Debug, Default)]
pub(crate) struct Phases(Mutex<BTreeMap<String, Phase>>);

/// Returns the name of a database behind the gateway, which is unique across regions.
pub(crate) fn place(region: &str, identifier: &str) -> String {
    format!("{region}-{identifier}")
}

impl Phases {
    /// Forgets everything and returns the places.
    pub(crate) fn clear(&self) -> Vec<String> {
        std::mem::take(&mut *self.lock()).into_keys().collect()
    }

    /// Returns why databases did not start.
    pub(crate) fn failures(&self) -> Vec<(String, String)> {
        let phases = self.lock();
        let failed = phases.iter().filter_map(|(id, phase)| match phase {
            Phase::Failed(why) => Some((id.clone(), why.clone())),
            Phase::Creating | Phase::Available | Phase::Deleting | Phase::Stopped(_) => None,
        });
        failed.collect()
    }

    pub(crate) fn get(&self, place: &str) -> Phase {
        self.lock().get(place).cloned().unwrap_or(Phase::Available)
    }

    pub(crate) fn set(&self, place: &str, phase: Phase) {
        self.lock().insert(place.to_owned(), phase);
    }

    /// Ends the creation. A database that is being deleted stays in that phase.
    pub(crate) fn created(&self, place: &str, phase: Phase) {
        if let Some(at) = self.lock().get_mut(place).filter(|at| **at == Phase::Creating) {
            *at = phase;
        }
    }

    pub(crate) fn forget(&self, place: &str) {
        self.lock().remove(place);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Phase>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deleted_database_does_not_become_available_again() {
        let phases = Phases::default();
        phases.set("a", Phase::Deleting);
        phases.created("a", Phase::Available);
        assert_eq!(phases.get("a"), Phase::Deleting);
    }
}
