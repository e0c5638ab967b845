//! What a channel does whatever its session is for: messages are numbered, acknowledged, put in order, sent again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use uuid::Uuid;

use crate::error::Error;
use crate::handshake;
use crate::incoming::Incoming;
use crate::message::{Message, MessageType, PREFIX, PayloadType};
use crate::outgoing::Outgoing;
use crate::payload::{Acknowledge, ChannelClosed, OpenDataChannel, Token};
use crate::window::Window;

/// The most messages handed out at once.
const BATCH: usize = 256;

/// Both directions of a channel, below the meaning of its messages. It outlives the connections that carry it.
#[derive(Debug)]
pub(crate) struct Reliable {
    client: Uuid,
    outgoing: Outgoing,
    incoming: Incoming,
    window: Window,
    payload_size: usize,
    /// When the agent was heard last: its data or its acknowledgement. What the service says does not count.
    heard: Instant,
    /// Since when the agent has owed an acknowledgement without a word.
    owing: Option<Instant>,
    /// When the connection was lost, while there is none.
    away: Option<Instant>,
    received: u64,
}

/// What a message comes to.
#[derive(Debug)]
pub(crate) enum Arrived {
    /// Data: the frame that acknowledges it, if there was room for it. See [`Reliable::next_batch`].
    Data(Option<Bytes>),
    /// The service has ended the session.
    Closed(Error),
    /// Nothing that the session has to know.
    Nothing,
}

impl Reliable {
    pub(crate) fn new(payload_size: usize, window: usize, now: Instant) -> Reliable {
        Reliable {
            client: Uuid::new_v4(),
            outgoing: Outgoing::new(now),
            incoming: Incoming::new(),
            window: Window::new(window, now),
            payload_size: payload_size.max(1),
            heard: now,
            owing: None,
            away: None,
            received: 0,
        }
    }

    /// Returns the first frame of a connection, to be sent as text.
    pub(crate) fn open_frame(&self, token: &Token) -> OpenDataChannel {
        OpenDataChannel {
            message_schema_version: "1.0".to_owned(),
            request_id: Uuid::new_v4(),
            token_value: token.clone(),
            client_id: self.client,
            client_version: handshake::CLIENT_VERSION.to_owned(),
        }
    }

    pub(crate) fn on_message(&mut self, message: Message, now: Instant) -> Arrived {
        match message.message_type {
            MessageType::Acknowledge => {
                if let Ok(acknowledge) = Acknowledge::parse(&message.payload) {
                    let outstanding = self.outgoing.outstanding_bytes();
                    if let Some(sent) = self.outgoing.on_acknowledge(acknowledge.sequence, now)
                        && let Some(round_trip) = sent.round_trip
                    {
                        self.window.on_acknowledge(sent.bytes, outstanding, round_trip, now);
                    }
                    self.on_heard(now);
                }
                Arrived::Nothing
            }
            MessageType::OutputStreamData => {
                self.on_heard(now);
                Arrived::Data(self.incoming.receive(message).map(|acknowledge| acknowledge.encode()))
            }
            MessageType::ChannelClosed => {
                // Whatever its text looks like, the session is over.
                let output = ChannelClosed::parse(&message.payload).unwrap_or_default().output;
                Arrived::Closed(self.ended(output))
            }
            // The official client ignores these too; an agent goes on by itself.
            MessageType::StartPublication | MessageType::PausePublication => Arrived::Nothing,
            MessageType::InputStreamData | MessageType::Unknown(_) => Arrived::Nothing,
        }
    }

    /// Returns the next data messages in order; `None` when the next one is missing.
    ///
    /// Not all at once: behind a gap there may be far more than should be in memory.
    pub(crate) fn next_batch(&mut self) -> Result<Option<Vec<Message>>, Error> {
        let mut batch = Vec::new();
        while batch.len() < BATCH
            && let Some(message) =
                self.incoming.take_next().map_err(|error| Error::ReorderBuffer(Arc::new(error)))?
        {
            batch.push(message);
        }
        self.received += batch.len() as u64;
        Ok((!batch.is_empty()).then_some(batch))
    }

    /// Returns the frame of a new message.
    pub(crate) fn send(&mut self, payload_type: PayloadType, payload: Bytes, now: Instant) -> Bytes {
        self.owing.get_or_insert(now);
        self.outgoing.send(Message::new(MessageType::InputStreamData, payload_type, payload), now)
    }

    /// Returns the frames to write again at `now`.
    pub(crate) fn on_timer(&mut self, now: Instant) -> Vec<Bytes> {
        let is_due = self.next_timer().is_some_and(|at| at <= now);
        if is_due { self.outgoing.overdue(now) } else { Vec::new() }
    }

    pub(crate) fn next_timer(&self) -> Option<Instant> {
        self.outgoing.next_check()
    }

    /// Returns every frame that must be written again after a new connection was opened.
    pub(crate) fn on_reconnect(&mut self, now: Instant) -> Vec<Bytes> {
        self.window.on_reconnect();
        // While there was no connection the agent could not be heard.
        if let Some(lost) = self.away.take() {
            let away = now.saturating_duration_since(lost);
            self.heard += away;
            self.owing = self.owing.map(|since| since + away);
        }
        self.outgoing.unacknowledged(now)
    }

    /// The connection was lost.
    pub(crate) fn on_disconnect(&mut self, now: Instant) {
        self.away.get_or_insert(now);
    }

    /// The agent was heard, or could not be because it is we who do not listen.
    pub(crate) fn on_heard(&mut self, now: Instant) {
        self.heard = now;
        self.owing = (self.outgoing.outstanding() > 0).then_some(now);
    }

    /// Returns when the agent was heard last.
    pub(crate) fn heard(&self) -> Instant {
        self.heard
    }

    /// Returns since when the agent has said nothing though it owes an acknowledgement.
    pub(crate) fn owing(&self) -> Option<Instant> {
        self.owing
    }

    /// Returns for how long the agent has said nothing though it owes an acknowledgement.
    pub(crate) fn silence(&self, now: Instant) -> Duration {
        self.owing.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// Returns a number that grows with every message that got through, either way.
    pub(crate) fn progress(&self) -> u64 {
        self.outgoing.acknowledged() + self.received
    }

    /// Returns what the end of the session means.
    fn ended(&self, output: String) -> Error {
        let unacknowledged = self.outgoing.outstanding_bytes();
        if output.trim().is_empty() && unacknowledged > 0 && self.outgoing.resent() > 0 {
            return Error::EndedUnderUpload { unacknowledged };
        }
        Error::of_the_end(output)
    }

    /// Returns how many bytes may be written now; 0 when the window is full.
    pub(crate) fn room(&self) -> usize {
        let room = self.window.size().saturating_sub(self.outgoing.outstanding_bytes());
        // Small messages would cost more than they carry.
        if room < self.payload_size + PREFIX { 0 } else { room }
    }

    pub(crate) fn payload_size(&self) -> usize {
        self.payload_size
    }

    pub(crate) fn window(&self) -> usize {
        self.window.size()
    }

    pub(crate) fn outgoing(&self) -> &Outgoing {
        &self.outgoing
    }
}
