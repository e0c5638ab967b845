//! A session from its start to its end. The agent serves it across the websockets of its client.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tunnel::{ChannelClosed, Message, MessageType, PayloadType};
use uuid::Uuid;

use crate::gateway::agent::session::AgentSession;
use crate::gateway::memory::sessions::{IN_FLIGHT, Record};
use crate::gateway::state::State;

/// Starts a session and its agent; returns the token.
pub(crate) fn start(state: &Arc<State>, info: AgentSession, owner: String, reason: Option<String>) -> String {
    let (to_agent, from_client) = mpsc::channel(IN_FLIGHT);
    let (to_client, from_agent) = mpsc::channel(IN_FLIGHT);
    let (end, ended) = oneshot::channel();
    let id = info.session_id.clone();
    let record = Record { info: info.clone(), owner, reason, started: Timestamp::now(), ended: None };
    let token = state.sessions.add(record, to_agent, end);
    let serve = state.options.agent.serve(info, from_client, to_client);
    state.tasks.spawn(run(Arc::clone(state), id, serve, from_agent, ended));
    token
}

async fn run(
    state: Arc<State>,
    id: String,
    serve: BoxFuture<'static, ()>,
    mut from_agent: mpsc::Receiver<Bytes>,
    ended: oneshot::Receiver<String>,
) {
    let relay = async {
        while let Some(frame) = from_agent.recv().await {
            // Without a client the frame is lost; the agent repeats it until it is acknowledged.
            if let Some(client) = state.sessions.client(&id) {
                drop(client.send(frame).await);
            }
        }
    };
    // The agent's last frames go out before the end is told.
    let agent = async { tokio::join!(serve, relay) };
    let output = tokio::select! {
        _ = agent => String::new(),
        output = ended => output.unwrap_or_default(),
    };
    if let Some(client) = state.sessions.end(&id) {
        drop(client.send(closing(&id, output)).await);
    }
}

fn closing(session_id: &str, output: String) -> Bytes {
    let payload = ChannelClosed {
        message_id: Uuid::new_v4().to_string(),
        created_date: Timestamp::now().to_string(),
        destination_id: session_id.to_owned(),
        session_id: session_id.to_owned(),
        message_type: "channel_closed".to_owned(),
        schema_version: 1,
        output,
    };
    Message::new(MessageType::ChannelClosed, PayloadType::Unset, payload.to_payload()).encode()
}
