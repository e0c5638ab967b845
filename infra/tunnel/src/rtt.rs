//! How long an acknowledgement takes.

use std::time::Duration;

const INITIAL: Duration = Duration::from_millis(100);
const INITIAL_TIMEOUT: Duration = Duration::from_millis(200);
const MIN_MARGIN: Duration = Duration::from_millis(10);
const MAX_TIMEOUT: Duration = Duration::from_secs(1);

/// The smoothed round trip and what follows from it, with the constants of the official programs.
#[derive(Clone, Debug)]
pub(crate) struct Rtt {
    smoothed: Duration,
    variation: Duration,
    timeout: Duration,
}

impl Rtt {
    pub(crate) fn new() -> Rtt {
        Rtt { smoothed: INITIAL, variation: Duration::ZERO, timeout: INITIAL_TIMEOUT }
    }

    pub(crate) fn sample(&mut self, rtt: Duration) {
        self.variation = (self.variation * 3 + self.smoothed.abs_diff(rtt)) / 4;
        self.smoothed = (self.smoothed * 7 + rtt) / 8;
        self.timeout = (self.smoothed + MIN_MARGIN.max(self.variation * 4)).min(MAX_TIMEOUT);
    }

    pub(crate) fn smoothed(&self) -> Duration {
        self.smoothed
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }
}
