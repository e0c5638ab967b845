//! Many sessions at once, with agents that are not ready when they say so.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use sandbox::gateway::Agent as _;
use sandbox::{Agent, AgentOptions, Dialer, Directory, StartUp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message as Ws;
use tunnel::{BoxFuture, Control, ControlError, Options, SessionToken, Token, Tunnel};

use crate::{TO_INSTANCE, echo, session};

const SESSIONS: u32 = 500;
const BURST: u32 = 50;
/// No connection takes a tenth of that; one that hangs takes for ever.
const HANGS: Duration = Duration::from_secs(60);

/// A service without an API: each session has a websocket and an agent of its own.
struct Service {
    port: u16,
    started: AtomicU32,
}

/// What becomes of a session's first messages: each in another way.
fn start_up(number: u32) -> StartUp {
    StartUp { deaf_messages: number % 2, unready_messages: number % 3, ..StartUp::default() }
}

impl Service {
    fn start(&self) -> Result<SessionToken, ControlError> {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let port = self.port;
        let (opened, listening) = std::sync::mpsc::channel();
        tokio::spawn(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            opened.send(listener.local_addr().unwrap()).unwrap();
            let (tcp, _) = listener.accept().await.unwrap();
            tcp.set_nodelay(true).unwrap();
            let (mut write, mut read) = tokio_tungstenite::accept_async(tcp).await.unwrap().split();
            let Some(Ok(Ws::Text(_open))) = read.next().await else { return };
            let options = AgentOptions { start_up: start_up(number), ..AgentOptions::default() };
            let agent = Agent::new(options, Dialer::without_network(Directory::default()));
            let (to_agent, from_client) = mpsc::channel(64);
            let (to_client, mut from_agent) = mpsc::channel(64);
            let serving = agent.serve(session("localhost", port, TO_INSTANCE), from_client, to_client);
            let upwards = async {
                while let Some(Ok(Ws::Binary(frame))) = read.next().await {
                    if to_agent.send(frame).await.is_err() {
                        return;
                    }
                }
            };
            let downwards = async {
                while let Some(frame) = from_agent.recv().await {
                    if write.send(Ws::Binary(frame)).await.is_err() {
                        return;
                    }
                }
            };
            tokio::select! {
                () = async { tokio::join!(serving, downwards); } => (),
                () = upwards => (),
            }
        });
        let address = tokio::task::block_in_place(|| listening.recv())?;
        let session_id = format!("s-{number}");
        Ok(SessionToken { session_id, url: format!("ws://{address}/"), token: Token::new("token") })
    }
}

impl Control for Service {
    fn start(&self) -> BoxFuture<'_, Result<SessionToken, ControlError>> {
        Box::pin(async { Service::start(self) })
    }

    fn sign(&self, _: &str) -> BoxFuture<'_, Result<Vec<(String, String)>, ControlError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn resume(&self, _: &str) -> BoxFuture<'_, Result<Option<SessionToken>, ControlError>> {
        Box::pin(async { Ok(None) })
    }

    fn terminate(&self, _: &str) -> BoxFuture<'_, Result<(), ControlError>> {
        Box::pin(async { Ok(()) })
    }
}

/// Opens a session, and has its first connection answered.
async fn first_connection(service: Arc<Service>) {
    let tunnel = Tunnel::open(service as Arc<dyn Control>, Options::new("localhost")).await.unwrap();
    let mut stream = tunnel.connect().await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    let mut back = [0; 5];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"hello");
    tunnel.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_connection_of_none_of_500_sessions_hangs() {
    let service = Arc::new(Service { port: echo().await, started: AtomicU32::new(0) });
    let mut outcomes = BTreeMap::<&str, u32>::new();
    for _ in 0..SESSIONS / BURST {
        let mut burst = JoinSet::new();
        for _ in 0..BURST {
            burst.spawn(timeout(HANGS, first_connection(Arc::clone(&service))));
        }
        for outcome in burst.join_all().await {
            let word = if outcome.is_ok() { "answered" } else { "hang" };
            *outcomes.entry(word).or_default() += 1;
        }
    }
    assert_eq!(outcomes, BTreeMap::from([("answered", SESSIONS)]));
    assert_eq!(service.started.load(Ordering::Relaxed), SESSIONS, "no session was opened twice");
}
