//! One session from the handshake to its end.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tunnel::{
    Acknowledge, ActionStatus, Command, Flag, Frame, HandshakeComplete, HandshakeRequest, HandshakeResponse,
    Incoming, Message, MessageType, PAYLOAD_SIZE, PayloadType, RequestedAction, Version,
};

use super::dialer::Dialer;
use super::line::{Line, Reading};
use super::sender::{Sender, TICK};
use super::streams::{Outbound, Streams};
use super::{AgentOptions, Pacing};
use crate::gateway::AgentSession;

const PAUSE: Duration = Duration::from_millis(1);
const KEEP_ALIVE: Duration = Duration::from_secs(10);
const KEEP_ALIVE_LIMIT: Duration = Duration::from_secs(30);
/// Clients and agents up to these keep smux's own keep-alive on.
const LAST_CLIENT_WITH_KEEP_ALIVE: Version = Version::new(1, 2, 331, 0);
const LAST_AGENT_WITH_KEEP_ALIVE: Version = Version::new(3, 1, 1511, 0);

/// Serves a session until the client ends it, breaks the protocol, or does not answer the handshake.
pub(super) async fn serve(options: AgentOptions, dialer: Arc<Dialer>, session: AgentSession, line: Line) {
    let (streams, accepting, mut from_targets) = Streams::new(dialer, session.clone());
    let mut accepting = pin!(accepting);
    let now = Instant::now();
    let request = handshake_request(&options, &session);
    let mut session = Session {
        line,
        sender: Sender::new(),
        incoming: Incoming::new(),
        streams,
        state: State::Handshake { since: now },
        outbound: BytesMut::new(),
        next_send: now,
        paused: false,
        heard: now,
        options,
    };
    session.send(PayloadType::HandshakeRequest, request);
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);

    loop {
        let reading = if session.streams.is_stalled() { Reading::Stalled } else { Reading::Wanted };
        let may_send = !session.paused && session.line.has_room();
        let next_send = session.next_send;
        let event = tokio::select! {
            frame = session.line.exchange(reading) => match frame {
                Ok(frame) => Event::Frame(frame),
                Err(_closed) => return,
            },
            () = session.streams.drain(), if reading == Reading::Stalled => Event::Drained,
            () = sleep_until(next_send), if may_send && !session.outbound.is_empty() => Event::MaySend,
            Some(outbound) = from_targets.recv(), if may_send && session.outbound.is_empty() => {
                Event::Outbound(outbound)
            }
            _ = tick.tick() => Event::Tick,
            () = &mut accepting => return,
        };
        if session.on(event).is_err() {
            session.line.flush().await.ok();
            return;
        }
    }
}

enum Event {
    Frame(Bytes),
    Drained,
    MaySend,
    Outbound(Outbound),
    Tick,
}

enum State {
    /// The request is out.
    Handshake { since: Instant },
    /// Streams may come.
    Ready { keep_alive: Option<Instant> },
}

struct Session {
    line: Line,
    sender: Sender,
    incoming: Incoming,
    streams: Streams,
    state: State,
    /// Bytes of the multiplexed stream that are not in a message yet.
    outbound: BytesMut,
    next_send: Instant,
    paused: bool,
    heard: Instant,
    options: AgentOptions,
}

/// The session is over.
struct Over;

impl Session {
    fn on(&mut self, event: Event) -> Result<(), Over> {
        match event {
            Event::Frame(frame) => self.on_frame(frame),
            Event::Drained => Ok(()),
            Event::MaySend => {
                self.send_chunk();
                Ok(())
            }
            Event::Outbound(Outbound::Bytes(bytes)) => {
                self.outbound.extend_from_slice(&bytes);
                Ok(())
            }
            Event::Outbound(Outbound::ConnectFailed) => {
                self.send(PayloadType::Flag, Flag::ConnectToPortError.to_payload());
                Ok(())
            }
            Event::Tick => self.on_tick(),
        }
    }

    fn on_frame(&mut self, frame: Bytes) -> Result<(), Over> {
        // The service checks frames; a broken one would be its fault, and agents drop it.
        let Ok(message) = Message::parse(frame) else { return Ok(()) };
        match message.message_type {
            MessageType::InputStreamData => {
                self.paused = false;
                let received = self.incoming.receive(message);
                if let Some(acknowledge) = received.acknowledge {
                    self.line.send(acknowledge.encode());
                }
                received.deliver.iter().try_for_each(|message| self.on_data(message))
            }
            MessageType::Acknowledge => {
                self.paused = false;
                if let Ok(acknowledge) = Acknowledge::parse(&message.payload) {
                    self.sender.on_acknowledge(acknowledge.sequence, Instant::now());
                }
                Ok(())
            }
            MessageType::StartPublication => {
                self.paused = false;
                Ok(())
            }
            MessageType::PausePublication => {
                self.paused = true;
                Ok(())
            }
            MessageType::ChannelClosed => Err(Over),
            MessageType::OutputStreamData | MessageType::Unknown(_) => Ok(()),
        }
    }

    fn on_data(&mut self, message: &Message) -> Result<(), Over> {
        let is_ready = matches!(self.state, State::Ready { .. });
        if message.payload_type == PayloadType::HandshakeResponse && !is_ready {
            self.on_handshake_response(&message.payload)
        } else if message.payload_type == PayloadType::Flag {
            match Flag::parse(&message.payload) {
                Some(Flag::TerminateSession) => Err(Over),
                _ => Ok(()),
            }
        } else if message.payload_type == PayloadType::Output && is_ready {
            self.heard = Instant::now();
            self.streams.push(&message.payload).map_err(|_| Over)
        } else {
            // Data that came before the handshake was complete are lost, though they are acknowledged.
            Ok(())
        }
    }

    fn on_handshake_response(&mut self, payload: &[u8]) -> Result<(), Over> {
        let State::Handshake { since } = self.state else { return Ok(()) };
        let response = HandshakeResponse::parse(payload).map_err(|_| Over)?;
        let actions = &response.processed_client_actions;
        if actions.is_empty() || actions.iter().any(|action| action.action_status != ActionStatus::Success) {
            return Err(Over);
        }
        let complete = HandshakeComplete {
            handshake_time_to_complete: i64::try_from(since.elapsed().as_nanos()).unwrap_or(i64::MAX),
            customer_message: String::new(),
        };
        self.send(PayloadType::HandshakeComplete, complete.to_payload());
        let is_old =
            |version: &str, last: Version| version.parse::<Version>().map_or(true, |told| told <= last);
        let keeps_alive = is_old(&response.client_version, LAST_CLIENT_WITH_KEEP_ALIVE)
            || is_old(&self.options.version, LAST_AGENT_WITH_KEEP_ALIVE);
        self.heard = Instant::now();
        self.state = State::Ready { keep_alive: keeps_alive.then_some(self.heard) };
        Ok(())
    }

    fn on_tick(&mut self) -> Result<(), Over> {
        let now = Instant::now();
        if let Some(frame) = self.sender.overdue(now) {
            self.line.send(frame);
        }
        match &mut self.state {
            State::Handshake { since } if now - *since > self.options.handshake_limit => Err(Over),
            State::Ready { keep_alive: Some(_) } if now - self.heard > KEEP_ALIVE_LIMIT => Err(Over),
            State::Ready { keep_alive: Some(last) } if now - *last >= KEEP_ALIVE => {
                *last = now;
                Frame::control(Command::Nop, 0).encode(&mut self.outbound);
                Ok(())
            }
            State::Handshake { .. } | State::Ready { .. } => Ok(()),
        }
    }

    /// Sends one message of the multiplexed stream.
    fn send_chunk(&mut self) {
        let length = self.outbound.len().min(PAYLOAD_SIZE);
        let chunk = self.outbound.split_to(length).freeze();
        self.send(PayloadType::Output, chunk);
        if self.options.pacing == Pacing::Real {
            self.next_send = Instant::now() + PAUSE;
        }
    }

    fn send(&mut self, payload_type: PayloadType, payload: Bytes) {
        let message = Message::new(MessageType::OutputStreamData, payload_type, payload);
        let frame = self.sender.send(message, Instant::now());
        self.line.send(frame);
    }
}

fn handshake_request(options: &AgentOptions, session: &AgentSession) -> Bytes {
    let mut properties = json!({
        "portNumber": session.port.to_string(),
        "localPortNumber": session.local_port,
        "type": "LocalPortForwarding",
    });
    if session.document.ends_with("ToRemoteHost") {
        properties["host"] = session.host.clone().into();
    }
    let action = RequestedAction {
        action_type: "SessionType".to_owned(),
        action_parameters: json!({"SessionType": "Port", "Properties": properties}),
    };
    HandshakeRequest { agent_version: options.version.clone(), requested_client_actions: vec![action] }
        .to_payload()
}
