//! What the gateway and the agent at the far end of a session agree on.

pub(crate) mod remote;
pub(crate) mod session;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use self::remote::RemoteAgents;
use self::session::AgentSession;

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

    /// Returns the agents that connect from other processes, if these do. Others are always connected.
    fn remote(&self) -> Option<&RemoteAgents> {
        None
    }
}

impl Agent for RemoteAgents {
    fn serve(
        &self,
        session: AgentSession,
        from_client: mpsc::Receiver<Bytes>,
        to_client: mpsc::Sender<Bytes>,
    ) -> BoxFuture<'static, ()> {
        Box::pin(self.clone().carry(session, from_client, to_client))
    }

    fn remote(&self) -> Option<&RemoteAgents> {
        Some(self)
    }
}
