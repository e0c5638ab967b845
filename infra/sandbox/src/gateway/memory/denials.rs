//! Operations that are denied to every caller until they are allowed again. The emulators do not enforce IAM.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::gateway::wire::request::Protocol;

/// An operation of a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Action {
    /// The service's signing name: `ssm`.
    pub(crate) service: String,
    /// The operation: `StartSession`.
    pub(crate) operation: String,
}

/// What is denied.
#[derive(Debug, Default)]
pub(crate) struct Denials(Mutex<BTreeSet<Action>>);

impl Denials {
    pub(crate) fn deny(&self, action: Action) {
        self.lock(|denied| denied.insert(action));
    }

    pub(crate) fn clear(&self) {
        self.lock(BTreeSet::clear);
    }

    pub(crate) fn all(&self) -> Vec<Action> {
        self.lock(|denied| denied.iter().cloned().collect())
    }

    /// Returns the refusal of a call that is denied, in the words of its service: status, code, message.
    pub(crate) fn refusal(
        &self,
        service: &str,
        operation: &str,
        protocol: Protocol,
    ) -> Option<(u16, &'static str, String)> {
        self.has(service, operation).then(|| {
            let message =
                format!("User is not authorized to perform: {service}:{operation} with an explicit deny");
            match protocol {
                Protocol::Ec2 => (403, "UnauthorizedOperation", message),
                Protocol::Query => (403, "AccessDenied", message),
                Protocol::Json | Protocol::Cbor => (400, "AccessDeniedException", message),
            }
        })
    }

    /// Tells whether an operation is denied.
    pub(crate) fn has(&self, service: &str, operation: &str) -> bool {
        self.lock(|denied| denied.iter().any(|it| it.service == service && it.operation == operation))
    }

    fn lock<T>(&self, act: impl FnOnce(&mut BTreeSet<Action>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_service_denies_in_its_own_words() {
        let denials = Denials::default();
        let code = |protocol| denials.refusal("ssm", "StartSession", protocol).map(|(_, code, _)| code);
        assert_eq!(code(Protocol::Json), None);
        denials.deny(Action { service: "ssm".into(), operation: "StartSession".into() });
        assert_eq!(code(Protocol::Json), Some("AccessDeniedException"));
        assert_eq!(code(Protocol::Ec2), Some("UnauthorizedOperation"));
        assert_eq!(denials.refusal("ssm", "ResumeSession", Protocol::Json), None);
        denials.clear();
        assert_eq!(code(Protocol::Query), None);
    }
}
