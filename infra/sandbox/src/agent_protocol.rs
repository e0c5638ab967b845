//! What the gateway and an agent in a process of its own say to each other.
//!
//! The agent opens a websocket to register, and keeps it: the gateway tells it there which sessions to serve, and both
//! see by it that the other is alive. For each session the agent opens one more websocket, whose binary messages are
//! the session's frames, so that a session that stalls holds up no other.

use serde::{Deserialize, Serialize};

/// The path of everything that agents open, up to the instance's id.
pub(crate) const PATH: &str = "/_drawbridge/agents/";

/// What comes between the instance's id and a session's.
pub(crate) const SESSIONS: &str = "/sessions/";

/// The agent's first message.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Registration {
    /// The sessions that it still serves from before. The gateway ends all others to its instance.
    pub(crate) sessions: Vec<String>,
}

/// The gateway's first message. Each later one is a session to serve.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Welcome {
    /// How long the gateway may be silent before it must be dead: it pings several times in that time.
    pub(crate) silence_limit_ms: u64,
}
