//! What runs for each RDS instance, by its identifier.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use tokio::sync::Mutex;

/// A place for each identifier. Whoever starts or stops something holds its lock meanwhile, so that a deletion waits for
/// the creation.
#[derive(Debug)]
pub(crate) struct Slots<T>(std::sync::Mutex<HashMap<String, Slot<T>>>);

pub(crate) type Slot<T> = Arc<Mutex<Option<T>>>;

impl<T> Slots<T> {
    /// Returns the place of that identifier.
    pub(crate) fn get(&self, identifier: &str) -> Slot<T> {
        self.with(|slots| Arc::clone(slots.entry(identifier.to_owned()).or_default()))
    }

    /// Returns every identifier that was ever asked for.
    pub(crate) fn identifiers(&self) -> Vec<String> {
        self.with(|slots| slots.keys().cloned().collect())
    }

    fn with<R>(&self, work: impl FnOnce(&mut HashMap<String, Slot<T>>) -> R) -> R {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<T> Default for Slots<T> {
    fn default() -> Slots<T> {
        Slots(std::sync::Mutex::default())
    }
}
