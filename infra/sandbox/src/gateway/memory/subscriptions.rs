//! The subscriptions to mail that were confirmed.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The ARNs of the subscriptions that were confirmed.
#[derive(Debug, Default)]
pub(crate) struct Confirmed(Mutex<BTreeSet<String>>);

impl Confirmed {
    /// Notes that a subscription was confirmed.
    pub(crate) fn insert(&self, arn: &str) {
        self.lock().insert(arn.to_owned());
    }

    /// Forgets all.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    /// Tells whether a subscription was confirmed.
    pub(crate) fn has(&self, arn: &str) -> bool {
        self.lock().contains(arn)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
