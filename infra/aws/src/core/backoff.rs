//! Pauses between tries: short at first, then longer and longer.

use std::time::Duration;

/// Pauses between tries; each is half as long again as the one before, up to a limit.
pub(crate) struct Backoff {
    next: Duration,
    cap: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, cap: Duration) -> Backoff {
        Backoff { next: first, cap }
    }

    /// Returns how long to sleep before the next try.
    pub(crate) fn pause(&mut self) -> Duration {
        let now = self.next;
        self.next = (now * 3 / 2).min(self.cap);
        now
    }
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff::new(Duration::from_millis(100), Duration::from_secs(10))
    }
}
