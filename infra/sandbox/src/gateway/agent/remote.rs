//! Agents in other processes, which connect to the gateway.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_tungstenite::tungstenite::protocol::Message as Frame;
use uuid::Uuid;

use super::session::AgentSession;
use crate::agent_protocol::{Registration, Welcome};
use crate::gateway::password::Password;
use crate::gateway::wire::websocket::Socket;

/// The time limits for agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgentTimeouts {
    /// How often it asks whether an agent is alive.
    pub ping_interval: Duration,
    /// How long an agent may be silent before it counts as lost.
    pub silence_limit: Duration,
    /// How long the sessions of a lost agent wait for it to come back. They end at once if the agent's process has ended.
    pub session_grace: Duration,
    /// How long an agent may take to take up a session.
    pub open_limit: Duration,
}

impl Default for AgentTimeouts {
    fn default() -> AgentTimeouts {
        AgentTimeouts {
            ping_interval: Duration::from_secs(1),
            // Systems Manager takes minutes. On a busy machine, the gateway itself may pause for seconds.
            silence_limit: Duration::from_secs(10),
            session_grace: Duration::from_secs(10),
            open_limit: Duration::from_secs(10),
        }
    }
}

/// The agents that connect to a gateway, one for each instance. Clones share them.
#[derive(Clone)]
pub struct RemoteAgents(Arc<Shared>);

struct Shared {
    timeouts: AgentTimeouts,
    secret: Password,
    posts: Mutex<HashMap<String, Post>>,
    /// Sessions that no agent has taken up yet, by id.
    waiting: Mutex<HashMap<String, oneshot::Sender<Socket>>>,
}

/// The connection of an instance's agent.
struct Post {
    presence: watch::Sender<Presence>,
    connections: u64,
}

/// Whether an agent is there.
#[derive(Clone, Debug)]
enum Presence {
    Absent,
    Present {
        /// Where to send it new sessions.
        orders: mpsc::UnboundedSender<AgentSession>,
        /// The sessions that it serves from before.
        sessions: Arc<Vec<String>>,
    },
}

impl Presence {
    fn is_present(&self) -> bool {
        matches!(self, Presence::Present { .. })
    }

    fn holds(&self, session_id: &str) -> bool {
        match self {
            Presence::Present { sessions, .. } => sessions.iter().any(|id| id == session_id),
            Presence::Absent => false,
        }
    }
}

impl RemoteAgents {
    /// Returns a place for agents, with a new secret for them to show.
    pub fn new(timeouts: AgentTimeouts) -> RemoteAgents {
        let secret = Password::new(format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()));
        let shared = Shared { timeouts, secret, posts: Mutex::default(), waiting: Mutex::default() };
        RemoteAgents(Arc::new(shared))
    }

    /// Returns what an agent must show to be let in: `DRAWBRIDGE_AGENT_SECRET` in its environment.
    pub fn secret(&self) -> &Password {
        &self.0.secret
    }

    /// Tells whether the agent of an instance is connected.
    pub fn is_connected(&self, instance_id: &str) -> bool {
        self.presence(instance_id).borrow().is_present()
    }

    /// Waits until the agent of an instance is connected.
    pub async fn wait_until_connected(&self, instance_id: &str) {
        let mut presence = self.presence(instance_id);
        // The sender lives in `self`: it cannot be gone.
        drop(presence.wait_for(Presence::is_present).await);
    }

    /// Serves an agent's connection from its registration until it is lost.
    pub(crate) async fn register(&self, instance_id: &str, mut socket: Socket) {
        let timeouts = self.0.timeouts;
        let Ok(Some(Ok(Frame::Text(first)))) = timeout(timeouts.open_limit, socket.next()).await else {
            return;
        };
        let Ok(Registration { sessions }) = serde_json::from_str(first.as_str()) else { return };
        let silence_limit_ms = u64::try_from(timeouts.silence_limit.as_millis()).unwrap_or(u64::MAX);
        if send(&mut socket, &Welcome { silence_limit_ms }).await.is_err() {
            return;
        }
        let (orders, mut ordered) = mpsc::unbounded_channel();
        // Its drop makes the agent absent, however this ends.
        let _slot = self.slot(instance_id, Presence::Present { orders, sessions: Arc::new(sessions) });
        let mut pings = interval(timeouts.ping_interval);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        loop {
            // After a pause of this process, frames that arrived meanwhile are read before the agent counts as silent.
            let sent = tokio::select! {
                biased;
                order = ordered.recv() => match order {
                    Some(session) => send(&mut socket, &session).await,
                    // Another connection has taken the slot.
                    None => return,
                },
                frame = socket.next() => match frame {
                    Some(Ok(Frame::Close(_)) | Err(_)) | None => return,
                    Some(Ok(_)) => {
                        heard = Instant::now();
                        Ok(())
                    }
                },
                _ = pings.tick() => {
                    if heard.elapsed() > timeouts.silence_limit {
                        return;
                    }
                    socket.send(Frame::Ping(Bytes::new())).await
                }
            };
            if sent.is_err() {
                return;
            }
        }
    }

    /// Hands a websocket to the session that waits for it; closes it if none does.
    pub(crate) fn take_up(&self, session_id: &str, socket: Socket) {
        if let Some(waiting) = lock(&self.0.waiting).remove(session_id) {
            // The session may have given up just now; dropping the socket tells the agent.
            drop(waiting.send(socket));
        }
    }

    /// Has the agent of its instance serve a session.
    pub(super) async fn carry(
        self,
        session: AgentSession,
        from_client: mpsc::Receiver<Bytes>,
        to_client: mpsc::Sender<Bytes>,
    ) {
        let (session_id, instance_id) = (session.session_id.clone(), session.instance_id.clone());
        let mut presence = self.presence(&instance_id);
        let Presence::Present { orders, .. } = presence.borrow_and_update().clone() else { return };
        let (taken, socket) = oneshot::channel();
        lock(&self.0.waiting).insert(session_id.clone(), taken);
        let opened = match orders.send(session) {
            Ok(()) => timeout(self.0.timeouts.open_limit, socket).await.ok().and_then(Result::ok),
            Err(_lost) => None,
        };
        // Still there if nobody took it up.
        lock(&self.0.waiting).remove(&session_id);
        let Some(socket) = opened else { return };
        tokio::select! {
            () = relay(socket, from_client, to_client) => (),
            () = self.wait_until_given_up(&session_id, presence) => (),
        }
    }

    /// Waits until the agent has been away for too long, or is back without the session.
    async fn wait_until_given_up(&self, session_id: &str, mut presence: watch::Receiver<Presence>) {
        while presence.changed().await.is_ok() {
            let back = timeout(self.0.timeouts.session_grace, presence.wait_for(Presence::is_present)).await;
            if !back.is_ok_and(|back| back.is_ok_and(|back| back.holds(session_id))) {
                return;
            }
        }
    }

    fn presence(&self, instance_id: &str) -> watch::Receiver<Presence> {
        lock(&self.0.posts).entry(instance_id.to_owned()).or_default().presence.subscribe()
    }

    fn slot(&self, instance_id: &str, presence: Presence) -> Slot {
        let mut posts = lock(&self.0.posts);
        let post = posts.entry(instance_id.to_owned()).or_default();
        post.connections += 1;
        post.presence.send_replace(presence);
        Slot { agents: self.clone(), instance_id: instance_id.to_owned(), connection: post.connections }
    }
}

impl fmt::Debug for RemoteAgents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteAgents").field("timeouts", &self.0.timeouts).finish_non_exhaustive()
    }
}

impl Default for Post {
    fn default() -> Post {
        Post { presence: watch::Sender::new(Presence::Absent), connections: 0 }
    }
}

/// One connection's hold on its instance's post.
struct Slot {
    agents: RemoteAgents,
    instance_id: String,
    connection: u64,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut posts = lock(&self.agents.0.posts);
        let post = posts.entry(std::mem::take(&mut self.instance_id)).or_default();
        if post.connections == self.connection {
            post.presence.send_replace(Presence::Absent);
        }
    }
}

/// Copies frames until either end is done. Frames that the agent sent before it closed still arrive.
async fn relay(socket: Socket, mut from_client: mpsc::Receiver<Bytes>, to_client: mpsc::Sender<Bytes>) {
    let (mut write, mut read) = socket.split();
    let upwards = async {
        while let Some(frame) = from_client.recv().await {
            if write.send(Frame::Binary(frame)).await.is_err() {
                // The agent has closed; its last frames are still to be read.
                return std::future::pending().await;
            }
        }
    };
    let downwards = async {
        while let Some(Ok(frame)) = read.next().await {
            if let Frame::Binary(bytes) = frame
                && to_client.send(bytes).await.is_err()
            {
                return;
            }
        }
    };
    tokio::select! {
        () = upwards => (),
        () = downwards => (),
    }
}

async fn send(
    socket: &mut Socket,
    message: &impl serde::Serialize,
) -> Result<(), tokio_tungstenite::tungstenite::Error> {
    let text = serde_json::to_string(message).expect("invariant: strings and numbers are JSON");
    socket.send(Frame::text(text)).await
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
