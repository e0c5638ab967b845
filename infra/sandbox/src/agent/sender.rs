//! The sending half as real agents have it: only the oldest message is ever sent again.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tunnel::Message;

/// How often the oldest message is looked at.
pub(super) const TICK: Duration = Duration::from_millis(100);
/// Messages beyond this many are sent once and never again, as real agents do.
const MAX_UNACKNOWLEDGED: usize = 100_000;
const MAX_TIMEOUT: Duration = Duration::from_secs(1);
const MIN_VARIATION: Duration = Duration::from_millis(10);
/// The agent's SYN, on its first message.
const FIRST: u64 = 1;

/// Numbers messages and keeps them until they are acknowledged.
#[derive(Debug)]
pub(super) struct Sender {
    next: i64,
    unacknowledged: BTreeMap<i64, (Bytes, Instant)>,
    smoothed: Duration,
    variation: Duration,
    timeout: Duration,
}

impl Sender {
    pub(super) fn new() -> Sender {
        Sender {
            next: 0,
            unacknowledged: BTreeMap::new(),
            smoothed: Duration::from_millis(100),
            variation: Duration::ZERO,
            timeout: Duration::from_millis(200),
        }
    }

    /// Returns the frame of a new message.
    pub(super) fn send(&mut self, mut message: Message, now: Instant) -> Bytes {
        message.sequence = self.next;
        message.flags = if self.next == 0 { FIRST } else { 0 };
        let frame = message.encode();
        if self.unacknowledged.len() < MAX_UNACKNOWLEDGED {
            self.unacknowledged.insert(self.next, (frame.clone(), now));
        }
        self.next += 1;
        frame
    }

    /// Says whether everything is acknowledged.
    pub(super) fn is_empty(&self) -> bool {
        self.unacknowledged.is_empty()
    }

    /// Takes the acknowledgement of one message.
    pub(super) fn on_acknowledge(&mut self, sequence: i64, now: Instant) {
        let Some((_, sent)) = self.unacknowledged.remove(&sequence) else { return };
        let sample = now - sent;
        self.variation = self.variation * 3 / 4 + self.smoothed.abs_diff(sample) / 4;
        self.smoothed = self.smoothed * 7 / 8 + sample / 8;
        self.timeout = (self.smoothed + MIN_VARIATION.max(self.variation * 4)).min(MAX_TIMEOUT);
    }

    /// Returns the oldest message's frame, if it is time to send it again.
    pub(super) fn overdue(&mut self, now: Instant) -> Option<Bytes> {
        let mut oldest = self.unacknowledged.first_entry()?;
        let (frame, sent) = oldest.get_mut();
        if now - *sent < self.timeout {
            return None;
        }
        *sent = now;
        Some(frame.clone())
    }
}

#[cfg(test)]
mod tests {
    use tunnel::{MessageType, PayloadType};

    use super::*;

    fn message() -> Message {
        Message::new(MessageType::OutputStreamData, PayloadType::Output, "x")
    }

    #[test]
    fn only_the_oldest_message_is_sent_again_and_not_before_its_time() {
        let (mut sender, start) = (Sender::new(), Instant::now());
        let frames: Vec<Bytes> = (0..3).map(|_| sender.send(message(), start)).collect();
        assert_eq!(sender.overdue(start + Duration::from_millis(199)), None);
        let later = start + Duration::from_millis(200);
        assert_eq!(sender.overdue(later).as_ref(), Some(&frames[0]));
        assert_eq!(sender.overdue(later), None);
        sender.on_acknowledge(0, later);
        assert_eq!(sender.overdue(later + MAX_TIMEOUT).as_ref(), Some(&frames[1]));
    }

    #[test]
    fn the_first_message_alone_carries_the_flag() {
        let (mut sender, now) = (Sender::new(), Instant::now());
        let flags: Vec<u64> =
            (0..3).map(|_| Message::parse(sender.send(message(), now)).unwrap().flags).collect();
        assert_eq!(flags, [1, 0, 0]);
    }
}
