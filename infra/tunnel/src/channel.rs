//! The client's end of a data channel as a state machine: messages and time go in, actions come out.

use std::time::{Duration, Instant};

use bytes::Bytes;
use uuid::Uuid;

use crate::error::Error;
use crate::handshake;
use crate::incoming::Incoming;
use crate::message::{Message, MessageType, PREFIX, PayloadType};
use crate::mux::{self, Event, Mux};
use crate::outgoing::Outgoing;
use crate::payload::{Acknowledge, ChannelClosed, Flag, HandshakeComplete, OpenDataChannel, Token};
use crate::smux::{Command, Frame};
use crate::version::Version;
use crate::window::Window;

/// Agents that want smux keep-alives give up after 30 seconds without; they themselves send every ten.
const SMUX_KEEP_ALIVE: Duration = Duration::from_secs(10);

/// What a channel can be told.
#[derive(Clone, Debug)]
pub struct ChannelOptions {
    /// The bytes in one message, [`PAYLOAD_SIZE`](crate::PAYLOAD_SIZE) unless measured otherwise.
    pub payload_size: usize,
    /// The most bytes that may ever be unacknowledged; how many it is depends on the round trip.
    pub window: usize,
    /// How long a stream whose input has ended waits for more output before it is closed.
    pub quiet: Duration,
    /// How often to send an empty smux frame while a stream is open, so that the service's idle timeout does
    /// not end the session of a long and silent statement; `None` for never.
    pub keep_alive: Option<Duration>,
    /// How long a stream that was written to waits for the first byte of its target; `None` for targets that may
    /// stay silent.
    pub answer_within: Option<Duration>,
}

/// What the owner of the channel has to do, in this order.
#[derive(Debug)]
pub enum Action {
    /// Write the frame.
    Send(Bytes),
    /// The handshake is complete.
    Ready {
        /// The agent's version.
        agent: Version,
        /// A text of the account's administrator; often empty.
        customer_message: String,
    },
    /// Hand the bytes to the reader of the stream.
    Deliver {
        /// The stream.
        stream: u32,
        /// Its next bytes.
        payload: Bytes,
    },
    /// Nothing more will come on the stream, and nothing more can be written to it.
    StreamClosed {
        /// The stream.
        stream: u32,
    },
    /// The stream never existed: the bastion could not connect to the target.
    ConnectFailed {
        /// The stream.
        stream: u32,
    },
    /// The stream was closed: its target did not answer in time.
    Unanswered {
        /// The stream.
        stream: u32,
    },
    /// The session is over. Nothing follows.
    Closed(Error),
}

/// The state of a data channel. It outlives the connections that carry it.
#[derive(Debug)]
pub struct Channel {
    options: ChannelOptions,
    client: Uuid,
    phase: Phase,
    agent: Option<Version>,
    outgoing: Outgoing,
    incoming: Incoming,
    mux: Mux,
    keep_alive_at: Option<Instant>,
    window: Window,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Handshake,
    Ready,
    Over,
}

impl Channel {
    /// Returns the channel of a session that was just started.
    pub fn new(options: ChannelOptions, now: Instant) -> Channel {
        Channel {
            client: Uuid::new_v4(),
            phase: Phase::Handshake,
            agent: None,
            outgoing: Outgoing::new(now),
            incoming: Incoming::new(),
            mux: Mux::new(options.quiet, options.answer_within),
            keep_alive_at: None,
            window: Window::new(options.window, now),
            options,
        }
    }

    /// Returns the first frame of a connection, to be sent as text.
    pub fn open_frame(&self, token: &Token) -> OpenDataChannel {
        OpenDataChannel {
            message_schema_version: "1.0".to_owned(),
            request_id: Uuid::new_v4(),
            token_value: token.clone(),
            client_id: self.client,
            client_version: handshake::CLIENT_VERSION.to_owned(),
        }
    }

    /// Takes a message.
    pub fn on_message(&mut self, message: Message, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.phase == Phase::Over {
            return actions;
        }
        match message.message_type {
            MessageType::Acknowledge => {
                if let Ok(acknowledge) = Acknowledge::parse(&message.payload) {
                    let outstanding = self.outgoing.outstanding_bytes();
                    if let Some(sent) = self.outgoing.on_acknowledge(acknowledge.sequence, now)
                        && let Some(round_trip) = sent.round_trip
                    {
                        self.window.on_acknowledge(sent.bytes, outstanding, round_trip, now);
                    }
                }
            }
            MessageType::OutputStreamData => {
                let received = self.incoming.receive(message);
                actions.extend(received.acknowledge.map(|message| Action::Send(message.encode())));
                for message in received.deliver {
                    if let Err(error) = self.on_payload(&message, now, &mut actions) {
                        self.phase = Phase::Over;
                        actions.push(Action::Closed(error));
                        break;
                    }
                }
            }
            MessageType::ChannelClosed => {
                // Whatever its text looks like, the session is over.
                let output = ChannelClosed::parse(&message.payload).unwrap_or_default().output;
                self.phase = Phase::Over;
                actions.push(Action::Closed(Error::SessionEnded { output }));
            }
            // The official client ignores these too; an agent goes on by itself.
            MessageType::StartPublication | MessageType::PausePublication => (),
            MessageType::InputStreamData | MessageType::Unknown(_) => (),
        }
        actions
    }

    /// Does what is due at `now`.
    pub fn on_timer(&mut self, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.phase == Phase::Over {
            return actions;
        }
        if self.outgoing.next_check().is_some_and(|at| at <= now) {
            actions.extend(self.outgoing.overdue(now).into_iter().map(Action::Send));
        }
        let events = self.mux.on_timer(now);
        self.act(events, now, &mut actions);
        if self.keep_alive_at.is_some_and(|at| at <= now) {
            self.send_frames(&[Frame::control(Command::Nop, 0)], now, &mut actions);
            self.keep_alive_at = None;
        }
        self.schedule_keep_alive(now);
        actions
    }

    /// Returns when to call [`Channel::on_timer`] next.
    pub fn next_timer(&self) -> Option<Instant> {
        [self.outgoing.next_check(), self.mux.next_timer(), self.keep_alive_at].into_iter().flatten().min()
    }

    /// Returns every frame that must be written again after a new connection was opened.
    pub fn on_reconnect(&mut self, now: Instant) -> Vec<Action> {
        self.window.on_reconnect();
        self.mux.on_reconnect(now);
        self.outgoing.unacknowledged(now).into_iter().map(Action::Send).collect()
    }

    /// Opens a stream and returns its id. The agent connects to the target now, and says nothing if it can.
    ///
    /// Only a channel that is ready may open streams: before that an agent throws data away.
    pub fn open_stream(&mut self, now: Instant) -> (u32, Vec<Action>) {
        let (stream, frame) = self.mux.open();
        let mut actions = Vec::new();
        self.send_frames(&[frame], now, &mut actions);
        self.schedule_keep_alive(now);
        (stream, actions)
    }

    /// Writes bytes of a stream; those of a stream that has ended are dropped.
    pub fn write(&mut self, stream: u32, bytes: Bytes, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        let frames = self.mux.write(stream, bytes, now);
        self.send_frames(&frames, now, &mut actions);
        actions
    }

    /// Ends the input of a stream. The stream is closed when the other end closes it or falls silent.
    ///
    /// smux has no half-close: at the agent, FIN ends the connection to the target both ways, and an answer
    /// that is still to come would be lost. So FIN waits.
    pub fn finish_stream(&mut self, stream: u32, now: Instant) {
        self.mux.finish(stream, now);
    }

    /// Closes a stream at once, both ways.
    pub fn close_stream(&mut self, stream: u32, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        if let Some(frame) = self.mux.close(stream) {
            self.send_frames(&[frame], now, &mut actions);
        }
        actions
    }

    /// Asks the agent to end the session. Before the handshake is complete it would not listen.
    pub fn terminate(&mut self, now: Instant) -> Vec<Action> {
        if self.phase != Phase::Ready {
            return Vec::new();
        }
        vec![self.send(PayloadType::Flag, Flag::TerminateSession.to_payload(), now)]
    }

    /// Returns how many bytes may be written now; 0 when the window is full.
    pub fn room(&self) -> usize {
        let room = self.window.size().saturating_sub(self.outgoing.outstanding_bytes());
        // Small messages would cost more than they carry.
        if room < self.options.payload_size + PREFIX { 0 } else { room }
    }

    /// Returns how many bytes may be unacknowledged now.
    pub fn window(&self) -> usize {
        self.window.size()
    }

    /// Returns whether the handshake is complete and the session is not over.
    pub fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }

    /// Returns whether a new stream would have to wait for a target that does not answer: agents connect to one after
    /// the other.
    pub fn is_stuck(&self) -> bool {
        self.mux.is_stuck()
    }

    /// Returns the sending half, to look at.
    pub fn outgoing(&self) -> &Outgoing {
        &self.outgoing
    }

    fn on_payload(
        &mut self,
        message: &Message,
        now: Instant,
        actions: &mut Vec<Action>,
    ) -> Result<(), Error> {
        match message.payload_type {
            PayloadType::HandshakeRequest if self.agent.is_none() => {
                let answer = handshake::answer(&message.payload)?;
                actions.push(self.send(PayloadType::HandshakeResponse, answer.response.to_payload(), now));
                self.agent = Some(answer.agent?);
            }
            PayloadType::HandshakeComplete if self.phase == Phase::Handshake => {
                let agent = self.agent.ok_or(Error::Protocol("the handshake ended before it began"))?;
                let complete = HandshakeComplete::parse(&message.payload).unwrap_or_default();
                self.phase = Phase::Ready;
                actions.push(Action::Ready { agent, customer_message: complete.customer_message });
                self.schedule_keep_alive(now);
            }
            PayloadType::Output => {
                if self.phase != Phase::Ready {
                    return Err(Error::Protocol("data came before the end of the handshake"));
                }
                let events = self.mux.on_bytes(&message.payload, now)?;
                self.act(events, now, actions);
            }
            PayloadType::Flag if Flag::parse(&message.payload) == Some(Flag::ConnectToPortError) => {
                let event = self.mux.on_refusal();
                self.act(event.into_iter().collect(), now, actions);
            }
            PayloadType::HandshakeRequest
            | PayloadType::HandshakeComplete
            | PayloadType::Flag
            | PayloadType::Unset
            | PayloadType::Error
            | PayloadType::Size
            | PayloadType::Parameter
            | PayloadType::HandshakeResponse
            | PayloadType::EncryptionChallengeRequest
            | PayloadType::EncryptionChallengeResponse
            | PayloadType::StdErr
            | PayloadType::ExitCode
            | PayloadType::Unknown(_) => (),
        }
        Ok(())
    }

    fn act(&mut self, events: Vec<Event>, now: Instant, actions: &mut Vec<Action>) {
        for event in events {
            match event {
                Event::Send(frame) => self.send_frames(&[frame], now, actions),
                Event::Deliver { stream, payload } => actions.push(Action::Deliver { stream, payload }),
                Event::Closed { stream } => actions.push(Action::StreamClosed { stream }),
                Event::Refused { stream } => actions.push(Action::ConnectFailed { stream }),
                Event::Unanswered { stream } => actions.push(Action::Unanswered { stream }),
            }
        }
    }

    fn send_frames(&mut self, frames: &[Frame], now: Instant, actions: &mut Vec<Action>) {
        let mut bytes = mux::encode(frames);
        while !bytes.is_empty() {
            let payload = bytes.split_to(bytes.len().min(self.options.payload_size.max(1)));
            actions.push(self.send(PayloadType::Output, payload, now));
        }
    }

    fn send(&mut self, payload_type: PayloadType, payload: Bytes, now: Instant) -> Action {
        let message = Message::new(MessageType::InputStreamData, payload_type, payload);
        Action::Send(self.outgoing.send(message, now))
    }

    fn schedule_keep_alive(&mut self, now: Instant) {
        let asked = self.options.keep_alive.filter(|_| !self.mux.is_empty());
        let needed = self.agent.is_some_and(handshake::wants_keep_alive).then_some(SMUX_KEEP_ALIVE);
        let interval = needed.or(asked).filter(|_| self.phase == Phase::Ready);
        self.keep_alive_at = interval.map(|interval| self.keep_alive_at.unwrap_or(now + interval));
    }
}
