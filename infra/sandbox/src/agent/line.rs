//! The way of frames between an agent and its client.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// How many frames may wait for the client before the agent stops reading its targets.
const HIGH_WATER: usize = 64;

/// What goes wrong between agent and client, in both directions alike.
///
/// A websocket itself loses nothing: this is what the message service between the two websockets does.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LineFaults {
    /// The share of frames that never arrive, 0 to 1.
    pub loss: f64,
    /// The share of frames that arrive twice.
    pub duplicates: f64,
    /// The share of frames that a later one overtakes.
    pub reordering: f64,
    /// The most that a frame is held up; each waits some part of it.
    pub jitter: Duration,
    /// How often the agent loses its own websocket; never if zero.
    pub outage_every: Duration,
    /// How long it is away then. What was to arrive meanwhile is lost, in both directions.
    pub outage_for: Duration,
    /// Which of all courses it takes: the same seed and the same frames give the same faults.
    pub seed: u64,
}

/// Every frame of a session passes here, in both directions, so that losses, duplicates and delays have one place.
#[derive(Debug)]
pub(super) struct Line {
    from_client: mpsc::Receiver<Bytes>,
    to_client: mpsc::Sender<Bytes>,
    inbound: Way,
    outbound: Way,
}

impl Line {
    pub(super) fn new(
        from_client: mpsc::Receiver<Bytes>,
        to_client: mpsc::Sender<Bytes>,
        faults: LineFaults,
    ) -> Line {
        let upwards = LineFaults { seed: faults.seed.wrapping_add(1), ..faults };
        let now = Instant::now();
        Line { from_client, to_client, inbound: Way::new(upwards, now), outbound: Way::new(faults, now) }
    }

    /// Puts a frame on its way. It never waits: receiving must go on meanwhile.
    pub(super) fn send(&mut self, frame: Bytes) {
        self.outbound.put(frame, Instant::now());
    }

    /// Says whether the client takes frames fast enough.
    pub(super) fn has_room(&self) -> bool {
        self.outbound.frames.len() < HIGH_WATER
    }

    /// Moves frames out until the session is over at the other end. Can be dropped and called again at any time.
    pub(super) async fn flush(&mut self) -> Result<(), Closed> {
        while !self.outbound.frames.is_empty() {
            let permit = self.to_client.reserve().await.map_err(|_| Closed)?;
            if let Some((_, frame)) = self.outbound.frames.pop_front() {
                permit.send(frame);
            }
        }
        Ok(())
    }

    /// Returns the next frame, moving others out meanwhile, if `reading` says that one is wanted.
    pub(super) async fn exchange(&mut self, reading: Reading) -> Result<Bytes, Closed> {
        let wanted = reading == Reading::Wanted;
        loop {
            let now = Instant::now();
            if wanted && let Some(frame) = self.inbound.take(now) {
                return Ok(frame);
            }
            let (arrival, departure) = (self.inbound.next(), self.outbound.next());
            let may_leave = departure.is_some_and(|at| at <= now);
            let timers = [arrival.filter(|_| wanted), departure.filter(|_| !may_leave)];
            let wake_at = timers.into_iter().flatten().min();
            tokio::select! {
                frame = self.from_client.recv(), if wanted && self.inbound.frames.len() < HIGH_WATER => {
                    self.inbound.put(frame.ok_or(Closed)?, Instant::now());
                }
                permit = self.to_client.reserve(), if may_leave => {
                    let permit = permit.map_err(|_| Closed)?;
                    if let Some(frame) = self.outbound.take(now) {
                        permit.send(frame);
                    }
                }
                () = sleep_until(wake_at.unwrap_or(now)), if wake_at.is_some() => (),
                else => std::future::pending().await,
            }
        }
    }
}

/// One direction.
#[derive(Debug)]
struct Way {
    faults: LineFaults,
    random: StdRng,
    /// When the session began.
    since: Instant,
    /// Each with the time of its arrival, which never decreases.
    frames: VecDeque<(Instant, Bytes)>,
}

impl Way {
    fn new(faults: LineFaults, since: Instant) -> Way {
        Way { faults, random: StdRng::seed_from_u64(faults.seed), since, frames: VecDeque::new() }
    }

    fn put(&mut self, frame: Bytes, now: Instant) {
        let LineFaults { loss, duplicates, reordering, jitter, .. } = self.faults;
        if self.happens(loss) {
            return;
        }
        let arrives = now + jitter.mul_f64(if jitter.is_zero() { 0.0 } else { self.random.random() });
        let arrives = self.frames.back().map_or(arrives, |(last, _)| arrives.max(*last));
        if self.is_away(now) || self.is_away(arrives) {
            return;
        }
        if self.happens(duplicates) {
            self.frames.push_back((arrives, frame.clone()));
        }
        self.frames.push_back((arrives, frame));
        if self.happens(reordering)
            && let Some(before) = self.frames.len().checked_sub(2)
        {
            // The frames change places, not the times.
            let last = self.frames[before + 1].1.clone();
            let overtaken = std::mem::replace(&mut self.frames[before].1, last);
            self.frames[before + 1].1 = overtaken;
        }
    }

    fn next(&self) -> Option<Instant> {
        self.frames.front().map(|(at, _)| *at)
    }

    fn take(&mut self, now: Instant) -> Option<Bytes> {
        self.frames.pop_front_if(|(at, _)| *at <= now).map(|(_, frame)| frame)
    }

    /// Says whether the agent is without its websocket then.
    fn is_away(&self, at: Instant) -> bool {
        let LineFaults { outage_every, outage_for, .. } = self.faults;
        let passed = at.saturating_duration_since(self.since);
        !outage_every.is_zero()
            && passed >= outage_every
            && passed.as_nanos() % outage_every.as_nanos() < outage_for.as_nanos()
    }

    fn happens(&mut self, share: f64) -> bool {
        share > 0.0 && self.random.random_bool(share.min(1.0))
    }
}

/// Whether the agent takes frames now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    Wanted,
    /// A target does not read, and its buffer is full.
    Stalled,
}

/// The other end of the line is gone.
#[derive(Debug)]
pub(super) struct Closed;

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends numbered frames one way and returns those that arrive, with the time of the last.
    fn pass(faults: LineFaults, count: usize) -> (Vec<usize>, Duration) {
        let start = Instant::now();
        let mut way = Way::new(faults, start);
        for number in 0..count {
            way.put(Bytes::from(number.to_string()), start);
        }
        let last = way.frames.back().map_or(start, |(at, _)| *at);
        let numbers = std::iter::from_fn(|| way.take(last))
            .map(|frame| std::str::from_utf8(&frame).unwrap().parse().unwrap())
            .collect();
        (numbers, last - start)
    }

    #[test]
    fn a_perfect_line_changes_nothing() {
        let (numbers, held) = pass(LineFaults::default(), 1000);
        assert_eq!(numbers, (0..1000).collect::<Vec<_>>());
        assert_eq!(held, Duration::ZERO);
    }

    #[test]
    fn nothing_passes_while_the_agent_is_away() {
        let millis = Duration::from_millis;
        let start = Instant::now();
        let faults =
            LineFaults { outage_every: millis(100), outage_for: millis(20), ..LineFaults::default() };
        let mut way = Way::new(faults, start);
        for at in [0, 99, 100, 119, 120, 200] {
            way.put(Bytes::from(at.to_string()), start + millis(at));
        }
        let passed: Vec<Bytes> = std::iter::from_fn(|| way.take(start + millis(1000))).collect();
        assert_eq!(passed, ["0", "99", "120"]);
    }

    #[test]
    fn faults_happen_as_often_as_was_asked_for_and_the_same_way_each_time() {
        let faults = |loss, duplicates, reordering| LineFaults {
            loss,
            duplicates,
            reordering,
            seed: 7,
            ..LineFaults::default()
        };
        let (lossy, _) = pass(faults(0.1, 0.0, 0.0), 10_000);
        assert!((8_800..9_200).contains(&lossy.len()), "{}", lossy.len());
        assert_eq!(lossy, pass(faults(0.1, 0.0, 0.0), 10_000).0);
        let (twice, _) = pass(faults(0.0, 0.1, 0.0), 10_000);
        assert!((10_800..11_200).contains(&twice.len()), "{}", twice.len());
        let (mixed, _) = pass(faults(0.0, 0.0, 0.1), 10_000);
        let overtaken = mixed.windows(2).filter(|pair| pair[0] > pair[1]).count();
        assert!((800..1_100).contains(&overtaken), "{overtaken}");
        let mut sorted = mixed;
        sorted.sort_unstable();
        assert_eq!(sorted, (0..10_000).collect::<Vec<_>>());
    }

    #[test]
    fn jitter_holds_frames_up_and_keeps_their_order() {
        let faults = LineFaults { jitter: Duration::from_millis(20), ..LineFaults::default() };
        let (numbers, held) = pass(faults, 1000);
        assert_eq!(numbers, (0..1000).collect::<Vec<_>>());
        assert!(held > Duration::from_millis(15) && held <= Duration::from_millis(20), "{held:?}");
    }
}
