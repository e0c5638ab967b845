//! The agent at the far end of a data channel, spoken to frame by frame.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may panic anywhere, and tells what it makes"
)]

mod burst;
#[path = "../support/cluster.rs"]
mod cluster;
mod shell;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::mpsc as channel;

use bytes::{Bytes, BytesMut};
use cluster::ENDPOINT;
use sandbox::gateway::{Agent as _, AgentSession};
use sandbox::{
    Agent, AgentOptions, Authority, Cluster, ClusterServer, Dialer, Directory, Front, KeyKind, Pacing,
    StartUp,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tunnel::{
    Acknowledge, ActionStatus, ChannelClosed, Command, Decoder, Flag, Frame, HandshakeRequest,
    HandshakeResponse, Message, MessageType, PayloadType, ProcessedAction,
};

/// Ends this process if a test of it takes longer than any may: under `cargo test` nobody else would. Armed until it is
/// dropped; by the wall, whatever a test does to its own clock.
struct Watch(#[expect(dead_code, reason = "its drop is what is waited for")] channel::Sender<()>);

impl Watch {
    /// Watches the test of this thread.
    fn start() -> Watch {
        let name = std::thread::current().name().unwrap_or("a test").to_owned();
        let (hold, held) = channel::channel();
        std::thread::spawn(move || {
            if held.recv_timeout(2 * support::LIMIT) == Err(channel::RecvTimeoutError::Timeout) {
                // Past what the runner keeps of a test's output: it would never be shown.
                writeln!(std::io::stderr(), "test {name} has not ended within {:?}", 2 * support::LIMIT).ok();
                std::process::exit(101);
            }
        });
        Watch(hold)
    }
}

/// A client that does what a test says and nothing by itself, except that it acknowledges when told to.
struct Client {
    to_agent: mpsc::Sender<Bytes>,
    from_agent: mpsc::Receiver<Bytes>,
    serving: JoinHandle<()>,
    sequence: i64,
    received: i64,
    decoder: Decoder,
    _watch: Watch,
}

impl Client {
    fn new(port: u16) -> Client {
        let start_up = StartUp::none();
        Client::with(port, AgentOptions { pacing: Pacing::Unlimited, start_up, ..AgentOptions::default() })
    }

    fn with(port: u16, options: AgentOptions) -> Client {
        let agent = Agent::new(options, Dialer::without_network(Directory::default()));
        Client::of(&agent, session("localhost", port, TO_INSTANCE))
    }

    fn to(host: &str, port: u16, options: AgentOptions, directory: Directory) -> Client {
        let agent = Agent::new(options, Dialer::without_network(directory));
        Client::of(&agent, session(host, port, TO_REMOTE_HOST))
    }

    fn of(agent: &Agent, session: AgentSession) -> Client {
        let (to_agent, from_client) = mpsc::channel(64);
        let (to_client, from_agent) = mpsc::channel(64);
        let serving = tokio::spawn(agent.serve(session, from_client, to_client));
        let (decoder, watch) = (Decoder::default(), Watch::start());
        Client { to_agent, from_agent, serving, sequence: 0, received: 0, decoder, _watch: watch }
    }

    async fn send(&mut self, payload_type: PayloadType, payload: impl Into<Bytes>) -> Bytes {
        let mut message = Message::new(MessageType::InputStreamData, payload_type, payload);
        message.sequence = self.sequence;
        self.sequence += 1;
        let frame = message.encode();
        self.to_agent.send(frame.clone()).await.unwrap();
        frame
    }

    async fn any(&mut self) -> Option<Message> {
        Some(Message::parse(self.from_agent.recv().await?).unwrap())
    }

    /// Returns the next data message that is new, in order, and acknowledges it.
    async fn data(&mut self) -> Message {
        loop {
            let message = self.any().await.unwrap();
            if message.message_type != MessageType::OutputStreamData {
                continue;
            }
            self.to_agent.send(Message::acknowledge(&message).encode()).await.unwrap();
            if message.sequence == self.received {
                self.received += 1;
                return message;
            }
        }
    }

    /// Returns the sequence number that the next acknowledgement names.
    async fn acknowledged(&mut self) -> i64 {
        loop {
            let message = self.any().await.unwrap();
            if message.message_type == MessageType::Acknowledge {
                return Acknowledge::parse(&message.payload).unwrap().sequence;
            }
        }
    }

    async fn shake_hands(&mut self) {
        assert_eq!(self.data().await.payload_type, PayloadType::HandshakeRequest);
        self.send(PayloadType::HandshakeResponse, response("1.2.764.0", ActionStatus::Success)).await;
        assert_eq!(self.data().await.payload_type, PayloadType::HandshakeComplete);
    }

    async fn send_frames(&mut self, frames: &[Frame]) {
        let mut bytes = BytesMut::new();
        frames.iter().for_each(|frame| frame.encode(&mut bytes));
        self.send(PayloadType::Output, bytes.freeze()).await;
    }

    async fn frame(&mut self) -> Frame {
        loop {
            if let Some(frame) = self.decoder.next_frame().unwrap() {
                return frame;
            }
            let message = self.data().await;
            assert_eq!(message.payload_type, PayloadType::Output);
            assert!(message.payload.len() <= 1024);
            self.decoder.push(&message.payload);
        }
    }

    async fn bytes(&mut self, stream: u32, length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let frame = self.frame().await;
            assert_eq!((frame.command, frame.stream), (Command::Psh, stream));
            bytes.extend_from_slice(&frame.payload);
        }
        bytes
    }
}

const TO_INSTANCE: &str = "AWS-StartPortForwardingSession";
const TO_REMOTE_HOST: &str = "AWS-StartPortForwardingSessionToRemoteHost";

fn session(host: &str, port: u16, document: &str) -> AgentSession {
    AgentSession {
        session_id: "s-1".to_owned(),
        instance_id: "i-1".to_owned(),
        region: "us-east-1".to_owned(),
        host: host.to_owned(),
        port,
        local_port: "0".to_owned(),
        document: document.to_owned(),
        parameters: BTreeMap::new(),
    }
}

fn response(client_version: &str, status: ActionStatus) -> Bytes {
    let action = ProcessedAction {
        action_type: "SessionType".to_owned(),
        action_status: status,
        action_result: Value::Null,
        error: String::new(),
    };
    let client_version = client_version.to_owned();
    HandshakeResponse { client_version, processed_client_actions: vec![action], errors: None }.to_payload()
}

/// Starts a server that sends back what it gets, and returns its port.
async fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.into_split();
                tokio::io::copy(&mut reader, &mut writer).await
            });
        }
    });
    port
}

/// Returns a port that nobody listens on.
async fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn the_handshake_tells_version_and_target() {
    let mut client = Client::to("db.internal", 5432, AgentOptions::default(), Directory::default());
    let request = client.data().await;
    assert_eq!((request.sequence, request.flags), (0, 1));
    let request = HandshakeRequest::parse(&request.payload).unwrap();
    assert_eq!(request.agent_version, "3.3.987.0");
    let parameters = &request.requested_client_actions[0].action_parameters;
    let properties = json!({"host": "db.internal", "portNumber": "5432", "localPortNumber": "0", "type": "LocalPortForwarding"});
    assert_eq!(parameters, &json!({"SessionType": "Port", "Properties": properties}));
}

#[tokio::test]
async fn several_streams_carry_their_own_bytes() {
    let mut client = Client::new(echo().await);
    client.shake_hands().await;
    client.send_frames(&[Frame::control(Command::Syn, 3), Frame::push(3, "three")]).await;
    assert_eq!(client.bytes(3, 5).await, b"three");
    client.send_frames(&[Frame::control(Command::Syn, 5), Frame::push(5, "five")]).await;
    assert_eq!(client.bytes(5, 4).await, b"five");
    client.send_frames(&[Frame::push(3, "again")]).await;
    assert_eq!(client.bytes(3, 5).await, b"again");
}

#[tokio::test]
async fn many_bytes_come_in_messages_of_a_kilobyte() {
    let mut client = Client::new(echo().await);
    client.shake_hands().await;
    let sent: Vec<u8> = (0..100_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    client.send_frames(&[Frame::control(Command::Syn, 3)]).await;
    for chunk in sent.chunks(1000) {
        client.send_frames(&[Frame::push(3, Bytes::copy_from_slice(chunk))]).await;
    }
    assert_eq!(client.bytes(3, sent.len()).await, sent);
}

#[tokio::test]
async fn a_duplicate_is_acknowledged_again_and_not_delivered_twice() {
    let mut client = Client::new(echo().await);
    client.shake_hands().await;
    let mut bytes = BytesMut::new();
    Frame::control(Command::Syn, 3).encode(&mut bytes);
    Frame::push(3, "once").encode(&mut bytes);
    let frame = client.send(PayloadType::Output, bytes.freeze()).await;
    while client.acknowledged().await != 1 {}
    client.to_agent.send(frame).await.unwrap();
    while client.acknowledged().await != 1 {}
    client.send_frames(&[Frame::push(3, "!")]).await;
    assert_eq!(client.bytes(3, 5).await, b"once!");
}

#[tokio::test]
async fn messages_out_of_order_are_put_in_order() {
    let mut client = Client::new(echo().await);
    client.shake_hands().await;
    let (first, second) = (client.sequence, client.sequence + 1);
    for (sequence, frame) in [(second, Frame::push(3, "x")), (first, Frame::control(Command::Syn, 3))] {
        client.sequence = sequence;
        client.send_frames(&[frame]).await;
    }
    assert_eq!(client.bytes(3, 1).await, b"x");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_nobody_acknowledges_comes_again() {
    let mut client = Client::new(1);
    let first = client.any().await.unwrap();
    let again = client.any().await.unwrap();
    assert_eq!((first.id, first.sequence), (again.id, again.sequence));
}

#[tokio::test]
async fn data_before_the_handshake_are_acknowledged_and_lost() {
    let mut client = Client::new(echo().await);
    client.send_frames(&[Frame::control(Command::Syn, 3), Frame::push(3, "early")]).await;
    assert_eq!(client.acknowledged().await, 0);
    client.shake_hands().await;
    client.send_frames(&[Frame::control(Command::Syn, 5), Frame::push(5, "late")]).await;
    assert_eq!(client.bytes(5, 4).await, b"late");
}

#[tokio::test]
async fn a_target_that_cannot_be_reached_is_told_by_a_flag_and_a_fin() {
    let mut client = Client::new(closed_port().await);
    client.shake_hands().await;
    client.send_frames(&[Frame::control(Command::Syn, 3)]).await;
    let message = client.data().await;
    assert_eq!(message.payload_type, PayloadType::Flag);
    assert_eq!(Flag::parse(&message.payload), Some(Flag::ConnectToPortError));
    assert_eq!(client.frame().await, Frame::control(Command::Fin, 3));
}

#[tokio::test]
async fn the_name_of_a_database_leads_to_it_and_no_other_name_leads_anywhere() {
    let dir = support::folder();
    let server =
        ClusterServer::Programs { programs: cluster::programs(dir.path(), 16), cache: support::cache() };
    let cluster = Cluster::start(&server, cluster::spec(dir.path())).await.unwrap();
    let front = Front::new(&Authority::new(KeyKind::Ecc384).unwrap(), ENDPOINT, &cluster).unwrap();
    let directory = Directory::default();
    directory.insert(ENDPOINT, 5432, front);
    let shouted = ENDPOINT.to_uppercase();
    for (host, port, leads) in [
        (ENDPOINT, 5432, true),
        (&shouted, 5432, true),
        (ENDPOINT, 5433, false),
        ("other.example.com", 5432, false),
    ] {
        let options = AgentOptions { start_up: StartUp::none(), ..AgentOptions::default() };
        let mut client = Client::to(host, port, options, directory.clone());
        client.shake_hands().await;
        let ssl_request = [0, 0, 0, 8, 4, 210, 22, 47];
        client.send_frames(&[Frame::control(Command::Syn, 3), Frame::push(3, ssl_request.to_vec())]).await;
        if leads {
            assert_eq!(client.bytes(3, 1).await, b"S");
        } else {
            assert_eq!(client.data().await.payload_type, PayloadType::Flag);
        }
    }
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn fin_closes_the_target_and_is_answered() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = Client::new(listener.local_addr().unwrap().port());
    client.shake_hands().await;
    client.send_frames(&[Frame::control(Command::Syn, 3), Frame::push(3, "bye")]).await;
    let (mut target, _) = listener.accept().await.unwrap();
    client.send_frames(&[Frame::control(Command::Fin, 3)]).await;
    let mut got = Vec::new();
    target.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"bye");
    assert_eq!(client.frame().await, Frame::control(Command::Fin, 3));
}

#[tokio::test]
async fn the_end_of_a_target_arrives_after_its_bytes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = Client::new(listener.local_addr().unwrap().port());
    client.shake_hands().await;
    client.send_frames(&[Frame::control(Command::Syn, 3)]).await;
    let (mut target, _) = listener.accept().await.unwrap();
    target.write_all(b"last words").await.unwrap();
    drop(target);
    assert_eq!(client.bytes(3, 10).await, b"last words");
    assert_eq!(client.frame().await, Frame::control(Command::Fin, 3));
}

#[tokio::test]
async fn a_target_that_does_not_read_stops_the_session_from_reading() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = Client::new(listener.local_addr().unwrap().port());
    client.shake_hands().await;
    client.send_frames(&[Frame::control(Command::Syn, 3)]).await;
    let (mut target, _) = listener.accept().await.unwrap();
    // A megabyte at a time into a window of four, and what the kernel buffers: at last the channel stays full.
    let mut sent = 0;
    let chunk = Bytes::from(vec![7; 1000]);
    loop {
        let Ok(slot) = client.to_agent.clone().try_reserve_owned() else {
            // A pause before the window is full is the machine's; one after that may be, and then the bytes so far will do.
            match tokio::time::timeout(std::time::Duration::from_secs(1), client.any()).await {
                Err(_stalled) if sent > 4 << 20 => break,
                Ok(_) | Err(_) => continue,
            }
        };
        let mut bytes = BytesMut::new();
        Frame::push(3, chunk.clone()).encode(&mut bytes);
        let mut message = Message::new(MessageType::InputStreamData, PayloadType::Output, bytes.freeze());
        message.sequence = client.sequence;
        client.sequence += 1;
        slot.send(message.encode());
        sent += chunk.len();
        assert!(sent < 64 << 20, "the agent took {sent} bytes that nobody reads");
        while client.from_agent.try_recv().is_ok() {}
        tokio::task::yield_now().await;
    }
    assert!(sent > 4 << 20, "{sent}");
    let drained = tokio::spawn(async move {
        let mut got = vec![0; sent];
        target.read_exact(&mut got).await.unwrap();
        got.iter().all(|byte| *byte == 7)
    });
    let draining = async {
        while !drained.is_finished() {
            tokio::select! {
                _ = client.any() => (),
                () = tokio::time::sleep(std::time::Duration::from_millis(10)) => (),
            }
        }
    };
    tokio::time::timeout(support::LIMIT, draining).await.expect("all that was sent arrives");
    assert!(drained.await.unwrap());
}

#[tokio::test]
async fn the_terminate_flag_ends_the_session() {
    let mut client = Client::new(echo().await);
    client.shake_hands().await;
    client.send(PayloadType::Flag, Flag::TerminateSession.to_payload()).await;
    while client.any().await.is_some() {}
    client.serving.await.unwrap();
}

#[tokio::test]
async fn a_client_that_does_not_support_the_session_ends_it() {
    let mut client = Client::new(1);
    client.data().await;
    client.send(PayloadType::HandshakeResponse, response("1.2.764.0", ActionStatus::Unsupported)).await;
    while client.any().await.is_some() {}
    client.serving.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_answer_the_handshake_is_given_up() {
    let mut client = Client::new(1);
    while client.any().await.is_some() {}
    client.serving.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_old_client_must_keep_the_streams_alive() {
    let mut client = Client::new(1);
    client.data().await;
    client.send(PayloadType::HandshakeResponse, response("1.2.331.0", ActionStatus::Success)).await;
    assert_eq!(client.data().await.payload_type, PayloadType::HandshakeComplete);
    assert_eq!(client.frame().await, Frame::control(Command::Nop, 0));
    while client.any().await.is_some() {}
    client.serving.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_real_agent_sends_one_message_a_millisecond() {
    let options = AgentOptions { start_up: StartUp::none(), ..AgentOptions::default() };
    let mut client = Client::with(echo().await, options);
    client.shake_hands().await;
    let start = tokio::time::Instant::now();
    client.send_frames(&[Frame::control(Command::Syn, 3), Frame::push(3, vec![1; 50_000])]).await;
    client.bytes(3, 50_000).await;
    // The clock is paused: it moves only while everybody waits for the agent's pauses.
    assert!(start.elapsed() >= std::time::Duration::from_millis(48), "{:?}", start.elapsed());
}

#[tokio::test]
async fn what_comes_before_the_agent_is_ready_is_thrown_away_or_comes_again() {
    let start_up = StartUp { deaf_messages: 2, unready_messages: 1, ..StartUp::none() };
    let options = AgentOptions { pacing: Pacing::Unlimited, start_up, ..AgentOptions::default() };
    let mut client = Client::with(echo().await, options);
    client.shake_hands().await;
    client.send_frames(&[Frame::control(Command::Syn, 3)]).await;
    client.send_frames(&[Frame::push(3, "lost")]).await;
    while client.acknowledged().await != 2 {}
    let mut bytes = BytesMut::new();
    Frame::control(Command::Syn, 5).encode(&mut bytes);
    Frame::push(5, "kept").encode(&mut bytes);
    let frame = client.send(PayloadType::Output, bytes.freeze()).await;
    client.to_agent.send(frame).await.unwrap();
    assert_eq!(client.bytes(5, 4).await, b"kept", "nothing came of the other stream");
}

#[tokio::test]
async fn a_loopback_address_is_no_remote_host() {
    for host in ["127.0.0.1", "localhost", "127.8.9.10", "::1"] {
        let mut client = Client::to(host, echo().await, AgentOptions::default(), Directory::default());
        assert_eq!(client.data().await.payload_type, PayloadType::HandshakeRequest);
        client.send(PayloadType::HandshakeResponse, response("1.2.764.0", ActionStatus::Success)).await;
        let closed = loop {
            let message = client.any().await.unwrap();
            if message.message_type == MessageType::ChannelClosed {
                break ChannelClosed::parse(&message.payload).unwrap();
            }
        };
        assert_eq!(closed.output, format!("Forwarding to IP address {host} is forbidden."));
        client.serving.await.unwrap();
    }
}
