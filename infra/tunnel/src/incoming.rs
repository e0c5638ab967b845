//! The receiving half of the reliability layer; both ends use it.

use std::collections::BTreeMap;

use crate::message::Message;

/// The most messages kept while an earlier one is missing.
const MAX_MESSAGES: usize = 10_000;
/// The most bytes of payload kept while an earlier message is missing.
const MAX_BYTES: usize = 64 << 20;

/// Puts data messages in order and acknowledges them.
#[derive(Debug, Default)]
pub struct Incoming {
    expected: i64,
    early: BTreeMap<i64, Message>,
    early_bytes: usize,
}

/// What to do with a data message.
#[derive(Debug, Default, PartialEq)]
pub struct Received {
    /// What to send back; `None` when the message had no room and must come again.
    pub acknowledge: Option<Message>,
    /// The messages that are now in order, each exactly once.
    pub deliver: Vec<Message>,
}

impl Incoming {
    /// Returns a receiver that expects number 0.
    pub fn new() -> Incoming {
        Incoming::default()
    }

    /// Takes a data message.
    ///
    /// A message seen before is acknowledged again: the first acknowledgement was lost, and a sender that
    /// looks only at its oldest message would wait for it forever.
    pub fn receive(&mut self, message: Message) -> Received {
        let acknowledge = Some(Message::acknowledge(&message));
        if message.sequence < self.expected || self.early.contains_key(&message.sequence) {
            return Received { acknowledge, deliver: Vec::new() };
        }
        if message.sequence > self.expected {
            if self.early.len() >= MAX_MESSAGES || self.early_bytes + message.payload.len() > MAX_BYTES {
                return Received::default();
            }
            self.early_bytes += message.payload.len();
            self.early.insert(message.sequence, message);
            return Received { acknowledge, deliver: Vec::new() };
        }
        self.expected += 1;
        let mut deliver = vec![message];
        while let Some(message) = self.early.remove(&self.expected) {
            self.early_bytes -= message.payload.len();
            self.expected += 1;
            deliver.push(message);
        }
        Received { acknowledge, deliver }
    }
}
