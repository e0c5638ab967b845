//! The client's end of a data channel as a state machine: messages and time go in, actions come out.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::error::Error;
use crate::handshake;
use crate::message::{Message, PayloadType};
use crate::mux::{self, Event, Mux};
use crate::outgoing::Outgoing;
use crate::payload::{Flag, HandshakeComplete, OpenDataChannel, Token};
use crate::reliable::{Arrived, Reliable};
use crate::smux::{Command, Frame};
use crate::version::Version;

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
    reliable: Reliable,
    phase: Phase,
    agent: Option<Version>,
    mux: Mux,
    keep_alive: Option<Duration>,
    keep_alive_at: Option<Instant>,
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
            reliable: Reliable::new(options.payload_size, options.window, now),
            phase: Phase::Handshake,
            agent: None,
            mux: Mux::new(options.quiet, options.answer_within),
            keep_alive: options.keep_alive,
            keep_alive_at: None,
        }
    }

    /// Returns the first frame of a connection, to be sent as text.
    pub fn open_frame(&self, token: &Token) -> OpenDataChannel {
        self.reliable.open_frame(token)
    }

    /// Takes a message. Call [`Channel::on_more`] afterwards.
    pub fn on_message(&mut self, message: Message, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.phase == Phase::Over {
            return actions;
        }
        match self.reliable.on_message(message, now) {
            Arrived::Data(acknowledge) => {
                actions.extend(acknowledge.map(Action::Send));
                actions.extend(self.on_more(now).unwrap_or_default());
            }
            Arrived::Closed(error) => {
                self.phase = Phase::Over;
                actions.push(Action::Closed(error));
            }
            Arrived::Nothing => (),
        }
        actions
    }

    /// Goes on with what came before its turn and is in order now; `None` when there is no more.
    pub fn on_more(&mut self, now: Instant) -> Option<Vec<Action>> {
        let mut actions = Vec::new();
        if self.phase == Phase::Over {
            return None;
        }
        let batch = self.reliable.next_batch().transpose()?;
        let taken = batch.and_then(|batch| {
            batch.iter().try_for_each(|message| self.on_payload(message, now, &mut actions))
        });
        if let Err(error) = taken {
            self.phase = Phase::Over;
            actions.push(Action::Closed(error));
        }
        Some(actions)
    }

    /// Does what is due at `now`.
    pub fn on_timer(&mut self, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.phase == Phase::Over {
            return actions;
        }
        actions.extend(self.reliable.on_timer(now).into_iter().map(Action::Send));
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
        [self.reliable.next_timer(), self.mux.next_timer(), self.keep_alive_at].into_iter().flatten().min()
    }

    /// Returns every frame that must be written again after a new connection was opened.
    pub fn on_reconnect(&mut self, now: Instant) -> Vec<Action> {
        self.mux.on_reconnect(now);
        self.reliable.on_reconnect(now).into_iter().map(Action::Send).collect()
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
        self.reliable.room()
    }

    /// Returns how many bytes may be unacknowledged now.
    pub fn window(&self) -> usize {
        self.reliable.window()
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
        self.reliable.outgoing()
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
            let payload = bytes.split_to(bytes.len().min(self.reliable.payload_size()));
            actions.push(self.send(PayloadType::Output, payload, now));
        }
    }

    fn send(&mut self, payload_type: PayloadType, payload: Bytes, now: Instant) -> Action {
        Action::Send(self.reliable.send(payload_type, payload, now))
    }

    fn schedule_keep_alive(&mut self, now: Instant) {
        let asked = self.keep_alive.filter(|_| !self.mux.is_empty());
        let needed = self.agent.is_some_and(handshake::wants_keep_alive).then_some(SMUX_KEEP_ALIVE);
        let interval = needed.or(asked).filter(|_| self.phase == Phase::Ready);
        self.keep_alive_at = interval.map(|interval| self.keep_alive_at.unwrap_or(now + interval));
    }
}
