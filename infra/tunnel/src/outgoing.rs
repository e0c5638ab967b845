//! The sending half of the reliability layer; both ends use it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::message::Message;
use crate::rtt::Rtt;

/// How often [`Outgoing::overdue`] wants to be asked.
const TICK: Duration = Duration::from_millis(100);
/// A message that is lost again and again is sent at least this often.
const MAX_BACKOFF: Duration = Duration::from_secs(4);
/// How many of the oldest messages are sent again when nothing at all is acknowledged.
const PROBES: usize = 16;

/// Numbers data messages and keeps each until it is acknowledged.
#[derive(Debug)]
pub struct Outgoing {
    next: i64,
    outstanding: BTreeMap<i64, Outstanding>,
    bytes: usize,
    highest_acknowledged: i64,
    /// The last time that something moved: a send into silence, an acknowledgement, a probe.
    moved: Instant,
    checked: Instant,
    rtt: Rtt,
    acknowledged: u64,
    resent: u64,
}

/// What an acknowledgement tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// The size of the frame.
    pub bytes: usize,
    /// The time since it was sent; `None` if it was sent more than once.
    pub round_trip: Option<Duration>,
}

#[derive(Debug)]
struct Outstanding {
    frame: Bytes,
    sent: Instant,
    /// Messages from this number on were sent later than this one was last.
    followed_by: i64,
    resends: u32,
}

impl Outgoing {
    /// Returns an empty sender whose first message gets number 0.
    pub fn new(now: Instant) -> Outgoing {
        Outgoing {
            next: 0,
            outstanding: BTreeMap::new(),
            bytes: 0,
            highest_acknowledged: -1,
            moved: now,
            checked: now,
            rtt: Rtt::new(),
            acknowledged: 0,
            resent: 0,
        }
    }

    /// Gives the message its number and returns the frame to write.
    ///
    /// It is outstanding from here on, before it is written: an acknowledgement cannot come too early.
    pub fn send(&mut self, mut message: Message, now: Instant) -> Bytes {
        message.sequence = self.next;
        let frame = message.encode();
        if self.outstanding.is_empty() {
            self.checked = now;
            self.moved = now;
        }
        self.next += 1;
        self.bytes += frame.len();
        let outstanding = Outstanding { frame: frame.clone(), sent: now, followed_by: self.next, resends: 0 };
        self.outstanding.insert(message.sequence, outstanding);
        frame
    }

    /// Takes an acknowledgement; returns what it was for, if that message was outstanding.
    pub fn on_acknowledge(&mut self, sequence: i64, now: Instant) -> Option<Acknowledged> {
        let outstanding = self.outstanding.remove(&sequence)?;
        let bytes = outstanding.frame.len();
        self.bytes -= bytes;
        self.acknowledged += 1;
        self.highest_acknowledged = self.highest_acknowledged.max(sequence);
        self.moved = now;
        // Karn: which of two sendings was acknowledged cannot be known.
        let round_trip = (outstanding.resends == 0).then(|| now.saturating_duration_since(outstanding.sent));
        if let Some(round_trip) = round_trip {
            self.rtt.sample(round_trip);
        }
        Some(Acknowledged { bytes, round_trip })
    }

    /// Returns the frames to write again at `now`: all that are overdue and surely lost, because something
    /// sent after them was acknowledged.
    ///
    /// When nothing at all was acknowledged for a timeout, the oldest few and the newest are sent as probes
    /// and not the whole window: the line may merely be slow or the receiver stopped, and the first
    /// acknowledgement tells what else is missing.
    pub fn overdue(&mut self, now: Instant) -> Vec<Bytes> {
        self.checked = now;
        let timeout = self.rtt.timeout();
        let silent = now.saturating_duration_since(self.moved) >= timeout;
        let mut probes = if silent { PROBES } else { 0 };
        let newest = self.next - 1;
        let mut frames = Vec::new();
        for (&sequence, outstanding) in &mut self.outstanding {
            let patience = timeout.saturating_mul(1 << outstanding.resends.min(8)).min(MAX_BACKOFF);
            if now.saturating_duration_since(outstanding.sent) < patience {
                continue;
            }
            if self.highest_acknowledged < outstanding.followed_by {
                let probe = probes > 0 || (silent && sequence == newest);
                if !probe {
                    continue;
                }
                probes = probes.saturating_sub(1);
            }
            frames.push(outstanding.resend(self.next, now));
        }
        self.resent += frames.len() as u64;
        if silent && !frames.is_empty() {
            self.moved = now;
        }
        frames
    }

    /// Returns the frames of all outstanding messages, oldest first, to write on a new connection.
    pub fn unacknowledged(&mut self, now: Instant) -> Vec<Bytes> {
        self.checked = now;
        self.moved = now;
        let next = self.next;
        self.resent += self.outstanding.len() as u64;
        self.outstanding
            .values_mut()
            .map(|outstanding| {
                outstanding.resends = 0;
                outstanding.resend(next, now)
            })
            .collect()
    }

    /// Returns when to ask [`Outgoing::overdue`] next; `None` while nothing is outstanding.
    pub fn next_check(&self) -> Option<Instant> {
        (!self.outstanding.is_empty()).then(|| self.checked + TICK)
    }

    /// Returns the bytes of all outstanding frames.
    pub fn outstanding_bytes(&self) -> usize {
        self.bytes
    }

    /// Returns how many messages are outstanding.
    pub fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    /// Returns how many messages have been acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Returns how many times a message was sent again so far.
    pub fn resent(&self) -> u64 {
        self.resent
    }

    /// Returns the smoothed time between a message and its acknowledgement.
    pub fn round_trip(&self) -> Duration {
        self.rtt.smoothed()
    }
}

impl Outstanding {
    fn resend(&mut self, next: i64, now: Instant) -> Bytes {
        self.sent = now;
        self.followed_by = next;
        self.resends += 1;
        self.frame.clone()
    }
}
