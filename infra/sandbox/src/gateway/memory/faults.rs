//! Faults on demand: which call goes wrong, and how.

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// A fault that hits one call, once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The service's signing name (`ec2`); any when absent.
    #[serde(default)]
    pub service: Option<String>,
    /// The operation (`RunInstances`); any when absent.
    #[serde(default)]
    pub operation: Option<String>,
    /// Which of the matching calls since the fault was injected, from 1.
    pub nth: u64,
    /// What goes wrong.
    pub kind: FaultKind,
}

/// A way for a call to go wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// Nothing is done and the call is refused.
    Error {
        /// The HTTP status.
        status: u16,
        /// The error code, in the shape of the service.
        code: String,
    },
    /// Nothing is done and the service throttles the call, with its own error code.
    Throttle,
    /// Nothing is done and the service reports a failure of its own.
    ServerError,
    /// Nothing is done and no answer ever comes.
    Timeout,
    /// The work is done, then the connection is closed without an answer.
    LostReply,
    /// The work is done and no answer ever comes. Tests kill a client here.
    Hold,
}

impl FaultKind {
    /// Returns a refusal that no client retries.
    pub fn refusal() -> FaultKind {
        FaultKind::Error { status: 400, code: "InvalidRequest".to_owned() }
    }

    /// Returns the word for the journal.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            FaultKind::Error { .. } => "error",
            FaultKind::Throttle => "throttle",
            FaultKind::ServerError => "server-error",
            FaultKind::Timeout => "timeout",
            FaultKind::LostReply => "lost-reply",
            FaultKind::Hold => "hold",
        }
    }
}

#[derive(Debug)]
struct Armed {
    fault: Fault,
    seen: u64,
}

/// The faults that are still to happen.
#[derive(Debug)]
pub(crate) struct Faults {
    armed: Mutex<Vec<Armed>>,
    outstanding: watch::Sender<usize>,
}

impl Faults {
    pub(crate) fn new() -> Faults {
        Faults { armed: Mutex::new(Vec::new()), outstanding: watch::Sender::new(0) }
    }

    pub(crate) fn inject(&self, fault: Fault) {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner).push(Armed { fault, seen: 0 });
        self.outstanding.send_modify(|count| *count += 1);
    }

    pub(crate) fn clear(&self) {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.outstanding.send_replace(0);
    }

    /// Counts a call and returns what is to happen to it.
    pub(crate) fn meet(&self, service: &str, operation: &str) -> Option<FaultKind> {
        let mut armed = self.armed.lock().unwrap_or_else(PoisonError::into_inner);
        for fault in armed.iter_mut().filter(|armed| armed.fault.matches(service, operation)) {
            fault.seen += 1;
        }
        let hit = armed.iter().position(|a| a.fault.matches(service, operation) && a.seen >= a.fault.nth)?;
        Some(armed.remove(hit).fault.kind)
    }

    /// Tells that a fault has taken effect.
    pub(crate) fn fired(&self) {
        self.outstanding.send_modify(|count| *count = count.saturating_sub(1));
    }

    /// Waits until no fault is left to happen.
    pub(crate) async fn wait_until_fired(&self) {
        let mut outstanding = self.outstanding.subscribe();
        // The sender lives in `self`: it cannot be gone.
        drop(outstanding.wait_for(|count| *count == 0).await);
    }

    pub(crate) fn waiting(&self) -> Vec<Fault> {
        self.armed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .map(|armed| armed.fault.clone())
            .collect()
    }
}

impl Fault {
    fn matches(&self, service: &str, operation: &str) -> bool {
        self.service.as_deref().is_none_or(|want| want == service)
            && self.operation.as_deref().is_none_or(|want| want == operation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(service: Option<&str>, operation: Option<&str>, nth: u64) -> Fault {
        Fault {
            service: service.map(Into::into),
            operation: operation.map(Into::into),
            nth,
            kind: FaultKind::Throttle,
        }
    }

    #[test]
    fn a_fault_without_a_filter_counts_every_call_and_fires_once() {
        let faults = Faults::new();
        faults.inject(fault(None, None, 3));
        let hits: Vec<_> = ["a", "b", "c", "d"].iter().map(|op| faults.meet("ec2", op).is_some()).collect();
        assert_eq!(hits, [false, false, true, false]);
    }

    #[test]
    fn a_filtered_fault_counts_only_its_own_calls() {
        let faults = Faults::new();
        faults.inject(fault(Some("ec2"), Some("CreateVpc"), 2));
        assert_eq!(faults.meet("ec2", "CreateVpc"), None);
        assert_eq!(faults.meet("rds", "CreateVpc"), None);
        assert_eq!(faults.meet("ec2", "DeleteVpc"), None);
        assert_eq!(faults.meet("ec2", "CreateVpc"), Some(FaultKind::Throttle));
    }

    #[test]
    fn two_faults_on_one_call_fire_on_two_calls() {
        let faults = Faults::new();
        faults.inject(fault(None, None, 1));
        faults.inject(fault(None, None, 1));
        assert!(faults.meet("a", "x").is_some());
        assert!(faults.meet("a", "x").is_some());
        assert!(faults.meet("a", "x").is_none());
    }

    #[test]
    fn faults_are_written_as_people_would() {
        let short: Fault = serde_json::from_str(r#"{"nth":1,"kind":"lost-reply"}"#).unwrap();
        assert_eq!(short.kind, FaultKind::LostReply);
        let long: Fault = serde_json::from_str(
            r#"{"service":"ec2","operation":"CreateVpc","nth":2,"kind":{"error":{"status":403,"code":"UnauthorizedOperation"}}}"#,
        )
        .unwrap();
        assert_eq!(long.kind, FaultKind::Error { status: 403, code: "UnauthorizedOperation".into() });
    }

    #[tokio::test]
    async fn waiting_ends_when_the_last_fault_has_taken_effect() {
        let faults = Faults::new();
        faults.inject(fault(None, None, 1));
        let mut wait = std::pin::pin!(faults.wait_until_fired());
        assert!(futures_util::poll!(&mut wait).is_pending());
        faults.meet("ec2", "CreateVpc").unwrap();
        assert!(futures_util::poll!(&mut wait).is_pending());
        faults.fired();
        wait.await;
    }
}
