//! The receiving half of the reliability layer; both ends use it.

use std::io;

use crate::message::Message;
use crate::reorder_buffer::ReorderBuffer;

/// Puts data messages in order and acknowledges them.
///
/// Behind a gap it keeps 1 MiB of payload in memory and 64 MiB in a temporary file.
#[derive(Debug, Default)]
pub struct Incoming {
    /// The number of the next message to hand out.
    next: i64,
    /// That message, if it came in its turn.
    current: Option<Message>,
    buffer: ReorderBuffer,
}

impl Incoming {
    /// Returns a receiver that expects number 0.
    pub fn new() -> Incoming {
        Incoming::default()
    }

    /// Takes a data message and returns its acknowledgement; `None` when there is no room, and it must come again.
    /// Call [`Incoming::take_next`] afterwards.
    ///
    /// A message seen before is acknowledged again: the first acknowledgement was lost, and a sender that
    /// looks only at its oldest message would wait for it forever.
    pub fn receive(&mut self, message: Message) -> Option<Message> {
        let acknowledge = Message::acknowledge(&message);
        if message.sequence < self.next || self.buffer.contains(message.sequence) {
            return Some(acknowledge);
        }
        if message.sequence == self.next {
            self.current = Some(message);
            return Some(acknowledge);
        }
        self.buffer.insert(message).then_some(acknowledge)
    }

    /// Returns the next message in order, each exactly once; `None` while it is missing.
    ///
    /// # Errors
    /// When a message that was put into the file cannot be read back. It is lost, and the session with it.
    pub fn take_next(&mut self) -> io::Result<Option<Message>> {
        let next = match self.current.take() {
            Some(current) => Some(current),
            None => self.buffer.take(self.next)?,
        };
        self.next += i64::from(next.is_some());
        Ok(next)
    }
}
