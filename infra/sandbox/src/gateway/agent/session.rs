//! What an agent is told about a session.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A session as its agent gets to know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentSession {
    /// The id that `StartSession` answered.
    pub session_id: String,
    /// The instance that the agent runs on.
    pub instance_id: String,
    /// The region that the request was signed for.
    pub region: String,
    /// The host to forward to, as the instance would resolve it; of a shell, its own.
    pub host: String,
    /// The port to forward to; of a shell, 0.
    pub port: u16,
    /// The `localPortNumber` of the request, only ever echoed in the handshake.
    pub local_port: String,
    /// The name of the session document.
    pub document: String,
    /// The first value of each of the request's parameters.
    pub parameters: BTreeMap<String, String>,
}
