//! One session from the handshake to its end.

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
use super::sender::TICK;
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
    let request = handshake::request(&options, "Port", properties(&session), None);
    let mut session = Session {
        link: Link::new(line),
        streams,
        state: State::Handshake { since: now },
        outbound: BytesMut::new(),
        next_send: now,
        heard: now,
        options,
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
    /// Streams may come.
    Ready { keep_alive: Option<Instant> },
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
}

impl Session {
    fn on(&mut self, event: Event) -> Result<(), Over> {
        match event {
            Event::Frame(frame) => {
                self.link.receive(frame)?.iter().try_for_each(|message| self.on_data(message))
            }
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
        let response = handshake::accepted(payload)?;
        self.link.send(PayloadType::HandshakeComplete, handshake::complete(since, ""));
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
        self.link.on_tick(now);
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
        self.link.send(PayloadType::Output, chunk);
        if self.options.pacing == Pacing::Real {
            self.next_send = Instant::now() + PAUSE;
        }
    }
}

fn properties(session: &AgentSession) -> Value {
    let mut properties = json!({
        "portNumber": session.port.to_string(),
        "localPortNumber": session.local_port,
        "type": "LocalPortForwarding",
    });
    if session.document.ends_with("ToRemoteHost") {
        properties["host"] = session.host.clone().into();
    }
    properties
}
