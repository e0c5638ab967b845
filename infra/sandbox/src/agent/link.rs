//! The agent's end of a channel, whatever its session is for: messages in order, acknowledged, sent again.

use bytes::Bytes;
use tokio::time::Instant;
use tunnel::{Acknowledge, ChannelClosed, Incoming, Message, MessageType, PayloadType};

use super::line::{Closed, Line, Reading};
use super::sender::Sender;

/// Both directions of a channel, below the meaning of its messages.
#[derive(Debug)]
pub(super) struct Link {
    line: Line,
    sender: Sender,
    incoming: Incoming,
    /// The number of the next message to hand out.
    taken: i64,
    paused: bool,
}

/// The session is over.
#[derive(Debug)]
pub(super) struct Over;

impl Link {
    pub(super) fn new(line: Line) -> Link {
        Link { line, sender: Sender::new(), incoming: Incoming::new(), taken: 0, paused: false }
    }

    /// Says whether more may be sent: the client takes it, and the service has not asked for a pause.
    pub(super) fn may_send(&self) -> bool {
        !self.paused && self.line.has_room()
    }

    /// Returns the next frame, moving others out meanwhile, if `reading` says that one is wanted.
    pub(super) async fn exchange(&mut self, reading: Reading) -> Result<Bytes, Closed> {
        self.line.exchange(reading).await
    }

    /// Moves out what is left.
    pub(super) async fn flush(&mut self) {
        // A client that is gone has no use for it.
        drop(self.line.flush().await);
    }

    /// Says whether a frame is data that was not handed out before.
    pub(super) fn is_new_data(&self, frame: &Bytes) -> bool {
        let Ok(message) = Message::parse(frame.clone()) else { return false };
        message.message_type == MessageType::InputStreamData && message.sequence >= self.taken
    }

    /// Takes a frame; returns the data messages that are now in order.
    pub(super) fn receive(&mut self, frame: Bytes) -> Result<Vec<Message>, Over> {
        // The service checks frames; a broken one would be its fault, and agents drop it.
        let Ok(message) = Message::parse(frame) else { return Ok(Vec::new()) };
        match message.message_type {
            MessageType::InputStreamData => {
                self.paused = false;
                if let Some(acknowledge) = self.incoming.receive(message) {
                    self.line.send(acknowledge.encode());
                }
                let taken: Vec<Message> = std::iter::from_fn(|| self.incoming.take_next().transpose())
                    .collect::<Result<_, _>>()
                    .map_err(|_| Over)?;
                self.taken = taken.last().map_or(self.taken, |last| last.sequence + 1);
                return Ok(taken);
            }
            MessageType::Acknowledge => {
                self.paused = false;
                if let Ok(acknowledge) = Acknowledge::parse(&message.payload) {
                    self.sender.on_acknowledge(acknowledge.sequence, Instant::now());
                }
            }
            MessageType::StartPublication => self.paused = false,
            MessageType::PausePublication => self.paused = true,
            MessageType::ChannelClosed => return Err(Over),
            MessageType::OutputStreamData | MessageType::Unknown(_) => (),
        }
        Ok(Vec::new())
    }

    pub(super) fn send(&mut self, payload_type: PayloadType, payload: Bytes) {
        let message = Message::new(MessageType::OutputStreamData, payload_type, payload);
        let frame = self.sender.send(message, Instant::now());
        self.line.send(frame);
    }

    /// Ends the session with words for the user, which the service hands on.
    pub(super) fn send_end(&mut self, output: String) {
        let closed = ChannelClosed { output, ..ChannelClosed::default() };
        let message = Message::new(MessageType::ChannelClosed, PayloadType::Unset, closed.to_payload());
        self.line.send(message.encode());
    }

    /// Sends the oldest message again, if it is time.
    pub(super) fn on_tick(&mut self, now: Instant) {
        if let Some(frame) = self.sender.overdue(now) {
            self.line.send(frame);
        }
    }

    /// Says whether the client has everything.
    pub(super) fn is_acknowledged(&self) -> bool {
        self.sender.is_empty()
    }
}
