//! One session from the handshake to its end.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tunnel::{Command, Flag, Frame, Message, PAYLOAD_SIZE, PayloadType, Version};

use super::dialer::Dialer;
use super::handshake;
use super::line::{Line, Reading};
use super::link::{Link, Over};
use super::options::{AgentOptions, Pacing, StartUp};
use super::sender::TICK;
use super::streams::{Outbound, Streams};
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
    let request = handshake::request(&options, "Port", properties(&session), None);
    let forbidden = (is_to_remote_host(&session) && is_loopback(&session.host)).then(|| session.host.clone());
    let mut session = Session {
        link: Link::new(line),
        streams,
        state: State::Handshake { since: now },
        outbound: BytesMut::new(),
        next_send: now,
        heard: now,
        options,
        forbidden,
    };
    session.link.send(PayloadType::HandshakeRequest, request);
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);

    loop {
        let reading = if session.streams.is_stalled() { Reading::Stalled } else { Reading::Wanted };
        let may_send = session.link.may_send();
        let next_send = session.next_send;
        let event = tokio::select! {
            frame = session.link.exchange(reading) => match frame {
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
            session.link.flush().await;
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
    /// The handshake is complete; streams may come once the agent is ready.
    Ready { keep_alive: Option<Instant>, started: Started },
}

/// How far an agent is that has said that the handshake is complete.
struct Started {
    since: Instant,
    left: StartUp,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delivery {
    Taken,
    /// It is acknowledged and thrown away.
    Lost,
    /// It is not acknowledged, so that it comes again.
    Refused,
}

impl Started {
    fn delivery(&mut self, now: Instant) -> Delivery {
        let passed = now.saturating_duration_since(self.since);
        let left = &mut self.left;
        if passed < left.deaf_for || left.deaf_messages > 0 {
            left.deaf_messages = left.deaf_messages.saturating_sub(1);
            Delivery::Lost
        } else if passed < left.deaf_for + left.unready_for || left.unready_messages > 0 {
            left.unready_messages = left.unready_messages.saturating_sub(1);
            Delivery::Refused
        } else {
            Delivery::Taken
        }
    }
}

struct Session {
    link: Link,
    streams: Streams,
    state: State,
    /// Bytes of the multiplexed stream that are not in a message yet.
    outbound: BytesMut,
    next_send: Instant,
    heard: Instant,
    options: AgentOptions,
    /// The target, if agents refuse to forward to it with this document.
    forbidden: Option<String>,
}

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
                self.link.send(PayloadType::Flag, Flag::ConnectToPortError.to_payload());
                Ok(())
            }
            Event::Tick => self.on_tick(),
        }
    }

    fn on_frame(&mut self, frame: Bytes) -> Result<(), Over> {
        let delivery = match &mut self.state {
            // Acknowledgements, and what came before, are no business of the session's.
            State::Ready { started, .. } if self.link.is_new_data(&frame) => started.delivery(Instant::now()),
            State::Ready { .. } | State::Handshake { .. } => Delivery::Taken,
        };
        if delivery == Delivery::Refused {
            return Ok(());
        }
        self.link.receive(frame)?.iter().try_for_each(|message| self.on_data(message, delivery))
    }

    fn on_data(&mut self, message: &Message, delivery: Delivery) -> Result<(), Over> {
        let is_ready = matches!(self.state, State::Ready { .. }) && delivery == Delivery::Taken;
        let is_shaken = matches!(self.state, State::Ready { .. });
        if message.payload_type == PayloadType::HandshakeResponse && !is_shaken {
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
        let response = handshake::accepted(payload)?;
        self.link.send(PayloadType::HandshakeComplete, handshake::complete(since, ""));
        let is_old =
            |version: &str, last: Version| version.parse::<Version>().map_or(true, |told| told <= last);
        let keeps_alive = is_old(&response.client_version, LAST_CLIENT_WITH_KEEP_ALIVE)
            || is_old(&self.options.version, LAST_AGENT_WITH_KEEP_ALIVE);
        self.heard = Instant::now();
        let started = Started { since: self.heard, left: self.options.start_up };
        self.state = State::Ready { keep_alive: keeps_alive.then_some(self.heard), started };
        // Only now: the document's parameters are read once the handshake is complete.
        if let Some(host) = &self.forbidden {
            self.link.send_end(format!("Forwarding to IP address {host} is forbidden."));
            return Err(Over);
        }
        Ok(())
    }

    fn on_tick(&mut self) -> Result<(), Over> {
        let now = Instant::now();
        self.link.on_tick(now);
        match &mut self.state {
            State::Handshake { since } if now - *since > self.options.handshake_limit => Err(Over),
            State::Ready { keep_alive: Some(_), .. } if now - self.heard > KEEP_ALIVE_LIMIT => Err(Over),
            State::Ready { keep_alive: Some(last), .. } if now - *last >= KEEP_ALIVE => {
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
        self.link.send(PayloadType::Output, chunk);
        if self.options.pacing == Pacing::Real {
            self.next_send = Instant::now() + PAUSE;
        }
    }
}

fn is_to_remote_host(session: &AgentSession) -> bool {
    session.document.ends_with("ToRemoteHost")
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn properties(session: &AgentSession) -> Value {
    let mut properties = json!({
        "portNumber": session.port.to_string(),
        "localPortNumber": session.local_port,
        "type": "LocalPortForwarding",
    });
    if is_to_remote_host(session) {
        properties["host"] = session.host.clone().into();
    }
    properties
}
