//! The client's end of a data channel as a state machine: messages and time go in, actions come out.

mod watch;

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::error::Error;
use crate::handshake;
use crate::liveness::Liveness;
use crate::message::{Message, PayloadType};
use crate::mux::{self, Event, Mux};
use crate::outgoing::Outgoing;
use crate::payload::{Flag, HandshakeComplete};
use crate::proof::Proof;
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
    /// How long a session whose handshake is complete may take to prove that it carries streams; `None` to take the
    /// agent's word, which comes a moment too early.
    pub proof_within: Option<Duration>,
    /// How long the agent may acknowledge nothing, though it owes that, before it is given up. After a third of it another
    /// connection is tried, and an agent that owes nothing is asked for a sign if somebody depends on it.
    pub agent_limit: Duration,
}

/// What the owner of the channel has to do, in this order.
#[derive(Debug)]
pub enum Action {
    /// Write the frame.
    Send(Bytes),
    /// The handshake is complete, and the session carries streams.
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
    /// The agent acknowledges nothing: try another connection.
    Reconnect {
        /// For how long it has been silent.
        silence: Duration,
    },
    /// The agent acknowledges nothing, and a target that does not read may be the reason: tell, and go on.
    Stalled {
        /// For how long it has been silent.
        silence: Duration,
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
    liveness: Liveness,
    proof_within: Option<Duration>,
}

#[derive(Debug)]
enum Phase {
    Handshake,
    /// The handshake is complete, and nobody's stream depends on the session yet.
    Proving {
        proof: Proof,
        customer_message: String,
    },
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
            liveness: Liveness::new(options.agent_limit),
            proof_within: options.proof_within,
        }
    }

    /// Returns the layer that numbers and repeats messages.
    pub(crate) fn reliable(&mut self) -> &mut Reliable {
        &mut self.reliable
    }

    /// Takes a message. Call [`Channel::on_more`] afterwards.
    pub fn on_message(&mut self, message: Message, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        if matches!(self.phase, Phase::Over) {
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
        if matches!(self.phase, Phase::Over) {
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
        if matches!(self.phase, Phase::Over) {
            return actions;
        }
        actions.extend(self.reliable.on_timer(now).into_iter().map(Action::Send));
        let owes = self.is_doubtful(now);
        let events = self.mux.on_timer(owes, now);
        self.act(events, now, &mut actions);
        self.prove(now, &mut actions);
        self.look_after_agent(now, &mut actions);
        if matches!(self.phase, Phase::Over) {
            return actions;
        }
        if self.keep_alive_at.is_some_and(|at| at <= now) {
            self.send_frames(&[Frame::control(Command::Nop, 0)], now, &mut actions);
            self.keep_alive_at = None;
        }
        self.schedule_keep_alive(now);
        actions
    }

    /// Returns when to call [`Channel::on_timer`] next; never once the session is over.
    pub fn next_timer(&self) -> Option<Instant> {
        if matches!(self.phase, Phase::Over) {
            return None;
        }
        let proof = if let Phase::Proving { proof, .. } = &self.phase { Some(proof.next()) } else { None };
        let liveness = if self.is_ready() { self.liveness.next(self.signs()) } else { None };
        let timers = [self.reliable.next_timer(), self.mux.next_timer(), self.keep_alive_at, proof, liveness];
        timers.into_iter().flatten().min()
    }

    /// Returns every frame that must be written again after a new connection was opened.
    pub fn on_reconnect(&mut self, now: Instant) -> Vec<Action> {
        self.mux.on_reconnect(now);
        if let (Phase::Proving { proof, .. }, Some(limit)) = (&mut self.phase, self.proof_within) {
            proof.on_reconnect(limit, now);
        }
        self.reliable.on_reconnect(now).into_iter().map(Action::Send).collect()
    }

    /// The connection was lost: until [`Channel::on_reconnect`] the agent cannot be heard.
    pub fn on_disconnect(&mut self, now: Instant) {
        self.reliable.on_disconnect(now);
    }

    /// Opens a stream and returns its id. The agent connects to the target now, and says nothing if it can.
    ///
    /// Only a channel that is ready may open streams: before that an agent throws data away.
    pub fn open_stream(&mut self, now: Instant) -> (u32, Vec<Action>) {
        let (stream, frame) = self.mux.open(now);
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
        if !matches!(self.phase, Phase::Proving { .. } | Phase::Ready) {
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

    /// Returns whether the session carries streams and is not over.
    pub fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready)
    }

    /// Returns whether the agent has owed an acknowledgement for some seconds.
    pub fn is_doubtful(&self, now: Instant) -> bool {
        self.reliable.silence(now) >= self.liveness.doubtful_after()
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
            PayloadType::HandshakeComplete if matches!(self.phase, Phase::Handshake) => {
                let agent = self.agent.ok_or(Error::Protocol("the handshake ended before it began"))?;
                let complete = HandshakeComplete::parse(&message.payload).unwrap_or_default();
                let customer_message = complete.customer_message;
                match self.proof_within {
                    Some(limit) => {
                        self.phase = Phase::Proving { proof: Proof::new(limit, now), customer_message };
                    }
                    None => self.become_ready(agent, customer_message, now, actions),
                }
            }
            PayloadType::Output => {
                if !matches!(self.phase, Phase::Proving { .. } | Phase::Ready) {
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
                Event::Probe(frames) => self.send_frames(&frames, now, actions),
                Event::Deliver { stream, payload } => actions.push(Action::Deliver { stream, payload }),
                Event::Closed { stream } => actions.push(Action::StreamClosed { stream }),
                Event::Refused { stream } => actions.push(Action::ConnectFailed { stream }),
                Event::Unanswered { stream } => actions.push(Action::Unanswered { stream }),
                Event::Proved => self.on_proved(now, actions),
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
        let interval = needed.or(asked).filter(|_| self.is_ready());
        self.keep_alive_at = interval.map(|interval| self.keep_alive_at.unwrap_or(now + interval));
    }
}
