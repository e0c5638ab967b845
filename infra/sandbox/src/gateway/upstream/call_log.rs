//! The requests that the gateway sent to the programs behind it. Tests compare them with the programs' own logs.

use std::sync::{Mutex, PoisonError};

use super::emulator::Side;

/// A request that a program behind the gateway has answered: a client's, or a question of the gateway's own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UpstreamCall {
    /// Where it was answered.
    pub side: Side,
    /// The service's signing name.
    pub service: String,
    /// The operation, or method and path where the protocol does not tell.
    pub operation: String,
    /// The HTTP status of the answer.
    pub status: u16,
}

/// The requests in the order of their answers.
#[derive(Debug, Default)]
pub(crate) struct UpstreamLog(Mutex<Vec<UpstreamCall>>);

impl UpstreamLog {
    pub(crate) fn note(&self, passed: UpstreamCall) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(passed);
    }

    pub(crate) fn all(&self) -> Vec<UpstreamCall> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
