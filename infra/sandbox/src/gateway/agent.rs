//! What the gateway and the agent at the far end of a session agree on.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::remote::RemoteAgents;

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

/// The far end of sessions.
pub trait Agent: Send + Sync + 'static {
    /// Serves one session until it ends by itself or the returned future is dropped.
    ///
    /// Both channels carry whole data-channel frames. One call outlives the client's websockets: while the
    /// client is away, what is sent to it is lost, and the agent's own retransmission makes up for it.
    fn serve(
        &self,
        session: AgentSession,
        from_client: mpsc::Receiver<Bytes>,
        to_client: mpsc::Sender<Bytes>,
    ) -> BoxFuture<'static, ()>;

    /// Returns the agents that connect from elsewhere, if these do; others are always there.
    fn remote(&self) -> Option<&RemoteAgents> {
        None
    }
}
