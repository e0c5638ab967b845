//! How many bytes may be unacknowledged.

use std::time::{Duration, Instant};

/// Where it starts: a tenth of a second of a line that carries 2.5 MB/s.
const FIRST: usize = 256 << 10;
const LEAST: usize = 64 << 10;
/// The delay that our own bytes may add. Above it every other stream of the session waits for one that uploads.
const TARGET: Duration = Duration::from_millis(20);

/// A window that grows while the round trip stays flat and shrinks when its own bytes begin to queue.
///
/// Losses do not shrink it: frames are lost by the service and its connections, not because a queue was full.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    size: usize,
    most: usize,
    /// The shortest round trip of this connection: what the line takes without a queue. A window that is always full
    /// would take its own queue for the line if it forgot.
    shortest: Option<Duration>,
    /// Doubles every round trip until bytes queue for the first time.
    doubling: bool,
    /// One change down for each round trip: what is under way was sent before the change.
    may_shrink_at: Instant,
}

impl Window {
    /// Returns a window that never exceeds `most` bytes.
    pub(crate) fn new(most: usize, now: Instant) -> Window {
        Window { size: FIRST.min(most), most, shortest: None, doubling: true, may_shrink_at: now }
    }

    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// There is a new connection, and with it perhaps another way.
    pub(crate) fn on_reconnect(&mut self) {
        self.shortest = None;
    }

    /// A message of `bytes` was acknowledged after `round_trip`, while `outstanding` bytes were under way.
    pub(crate) fn on_acknowledge(
        &mut self,
        bytes: usize,
        outstanding: usize,
        round_trip: Duration,
        now: Instant,
    ) {
        let shortest = self.shortest.map_or(round_trip, |shortest| shortest.min(round_trip));
        self.shortest = Some(shortest);
        let queued = round_trip.saturating_sub(shortest);
        if queued > TARGET {
            self.doubling = false;
            if queued > TARGET * 2 && now >= self.may_shrink_at {
                self.size = (self.size - self.size / 4).max(LEAST.min(self.most));
                self.may_shrink_at = now + round_trip;
            }
        } else if outstanding * 2 >= self.size {
            // A window that is not used says nothing about what the line would carry.
            let more = if self.doubling { bytes } else { (bytes * bytes * 8 / self.size).max(1) };
            self.size = (self.size + more).min(self.most);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MESSAGE: usize = 1144;

    /// A line that carries `rate` bytes a second after `delay`: returns the window and the queue's delay in the end.
    fn settle(rate: usize, delay: Duration, most: usize) -> (usize, Duration) {
        let start = Instant::now();
        let mut window = Window::new(most, start);
        let sending = |bytes: usize| Duration::from_secs_f64(bytes as f64 / rate as f64);
        // The first messages find the line empty.
        for message in 0..window.size() / MESSAGE {
            let round_trip = delay + sending(message * MESSAGE).saturating_sub(delay);
            window.on_acknowledge(MESSAGE, window.size(), round_trip, start + round_trip);
        }
        let (mut now, mut queue) = (start, Duration::ZERO);
        while now < start + Duration::from_secs(3) {
            queue = sending(window.size()).saturating_sub(delay);
            let round_trip = delay + queue;
            for _ in 0..window.size() / MESSAGE {
                window.on_acknowledge(MESSAGE, window.size(), round_trip, now);
            }
            now += round_trip;
        }
        (window.size(), queue)
    }

    #[test]
    fn a_long_fast_line_is_filled() {
        let (size, _) = settle(100 << 20, Duration::from_millis(80), 1 << 20);
        assert_eq!(size, 1 << 20);
    }

    #[test]
    fn a_slow_line_is_not_flooded() {
        let (size, queue) = settle(1 << 20, Duration::from_millis(20), 1 << 20);
        assert!(size >= LEAST, "{size}");
        // The least window takes 64 ms of such a line.
        assert!(queue <= Duration::from_millis(80), "{queue:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn it_stays_between_its_bounds(
            most in 1_usize..4 << 20,
            samples in proptest::collection::vec((1_usize..40_000, 0_usize..1 << 20, 0_u64..2_000_000), 1..500),
        ) {
            let mut now = Instant::now();
            let mut window = Window::new(most, now);
            for (bytes, outstanding, micros) in samples {
                let round_trip = Duration::from_micros(micros);
                now += round_trip / 3;
                window.on_acknowledge(bytes, outstanding, round_trip, now);
                prop_assert!(window.size() <= most && window.size() >= LEAST.min(most), "{}", window.size());
            }
        }

        #[test]
        fn a_line_is_used_whatever_its_rate_and_delay(
            megabytes in 1_usize..64,
            delay_ms in 10_u64..300,
        ) {
            let (rate, delay) = (megabytes << 20, Duration::from_millis(delay_ms));
            let (size, _) = settle(rate, delay, 1 << 20);
            let full = (rate as f64 * delay.as_secs_f64()) as usize;
            prop_assert!(size >= full.min(1 << 20) * 9 / 10, "{size} of {full}");
        }
    }
}
