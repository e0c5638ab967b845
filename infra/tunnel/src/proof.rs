//! The proof that a session carries streams.
//!
//! An agent says that the handshake is complete a moment before it is ready. What comes in that moment is acknowledged
//! and thrown away, so that a first connection would wait for ever. A stream that is opened and closed at once may be
//! lost: its end comes back from an agent that is ready, whether or not the target can be reached, and only then does
//! anybody's connection depend on the session.

use std::time::{Duration, Instant};

/// Agents throw away what comes in the first millisecond, and do not acknowledge what comes in the next ten, which
/// costs the time until it is sent again. Most lines take longer than that; this is for those that do not.
const SETTLE: Duration = Duration::from_millis(12);
/// When a probe whose end has not come back is followed by another; each time four times as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// How soon it is looked again whether a probe was acknowledged: until then another would only wait behind it.
const LOOK: Duration = Duration::from_millis(50);

/// A proof under way.
#[derive(Debug)]
pub(crate) struct Proof {
    next: Instant,
    pause: Duration,
    until: Instant,
    is_under_way: bool,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    /// Open and close a stream.
    Probe,
    /// The time is over.
    GiveUp,
}

impl Proof {
    /// Returns a proof that has as long as `limit`.
    pub(crate) fn new(limit: Duration, now: Instant) -> Proof {
        Proof { next: now + SETTLE, pause: FIRST_PAUSE, until: now + limit, is_under_way: false }
    }

    /// Returns what is due; `owes` says whether the agent has not acknowledged everything.
    pub(crate) fn due(&mut self, owes: bool, now: Instant) -> Due {
        if now >= self.until {
            return Due::GiveUp;
        }
        if now < self.next {
            return Due::Nothing;
        }
        if owes && self.is_under_way {
            self.next = now + LOOK;
            return Due::Nothing;
        }
        if self.is_under_way {
            self.pause *= 4;
        }
        self.is_under_way = true;
        self.next = now + self.pause;
        Due::Probe
    }

    /// The connection was away: the agent could not answer meanwhile.
    pub(crate) fn on_reconnect(&mut self, limit: Duration, now: Instant) {
        self.next = now + self.pause;
        self.until = now + limit;
    }

    pub(crate) fn next(&self) -> Instant {
        self.next.min(self.until)
    }
}
