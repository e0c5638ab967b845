//! When to ping a connection, and when to give it up.

use std::time::{Duration, Instant, SystemTime};

/// NAT gateways and load balancers forget connections that are silent for a minute.
const PING: Duration = Duration::from_secs(25);
/// A connection from which nothing came for two pings is dead, whatever the socket says.
const SILENCE: Duration = Duration::from_secs(50);

/// How often the clocks are compared.
const LOOK: Duration = Duration::from_secs(5);
/// A machine that slept this long has missed what its connections needed.
const SLEPT: Duration = Duration::from_secs(10);
/// How long the other end has to show that it is still there after a sleep.
const AFTER_SLEEP: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Heartbeat {
    heard: Instant,
    ping_at: Instant,
    give_up_at: Instant,
    looked: (Instant, SystemTime),
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    Ping,
    GiveUp,
}

impl Heartbeat {
    pub(crate) fn new(now: Instant, wall: SystemTime) -> Heartbeat {
        Heartbeat { heard: now, ping_at: now + PING, give_up_at: now + SILENCE, looked: (now, wall) }
    }

    /// Anything came: data, a pong, a ping of the other end.
    pub(crate) fn on_heard(&mut self, now: Instant) {
        self.heard = now;
        self.give_up_at = now + SILENCE;
    }

    /// The monotonic clock stands still while a machine sleeps; the wall clock does not. Where it ran ahead, the
    /// connection has a few seconds to prove itself. A clock that is set back changes nothing.
    pub(crate) fn due(&mut self, now: Instant, wall: SystemTime) -> Due {
        let (looked, looked_wall) = std::mem::replace(&mut self.looked, (now, wall));
        let awake = now.saturating_duration_since(looked);
        if wall.duration_since(looked_wall).is_ok_and(|passed| passed > awake + SLEPT) {
            self.ping_at = now;
            self.give_up_at = self.give_up_at.min(now + AFTER_SLEEP);
        }
        if now >= self.give_up_at {
            return Due::GiveUp;
        }
        if now >= self.ping_at {
            self.ping_at = now + PING;
            return Due::Ping;
        }
        Due::Nothing
    }

    /// Returns how long nothing has come.
    pub(crate) fn silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.heard)
    }

    pub(crate) fn next(&self) -> Instant {
        self.ping_at.min(self.give_up_at).min(self.looked.0 + LOOK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both clocks, and the machine's sleep between them.
    struct Clocks {
        start: Instant,
        wall: SystemTime,
        now: Instant,
        slept: Duration,
    }

    impl Clocks {
        fn new() -> (Clocks, Heartbeat) {
            let (start, wall) = (Instant::now(), SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30));
            let clocks = Clocks { start, wall, now: start, slept: Duration::ZERO };
            (clocks, Heartbeat::new(start, wall))
        }

        fn due(&self, heartbeat: &mut Heartbeat) -> Due {
            heartbeat.due(self.now, self.wall + self.slept + (self.now - self.start))
        }

        /// Lives until something is due; returns what, and the seconds since the start.
        fn next(&mut self, heartbeat: &mut Heartbeat) -> (Due, u64) {
            loop {
                self.now = heartbeat.next();
                let due = self.due(heartbeat);
                if due != Due::Nothing {
                    return (due, (self.now - self.start).as_secs());
                }
            }
        }
    }

    #[test]
    fn a_connection_is_pinged_before_it_is_given_up() {
        let (mut clocks, mut heartbeat) = Clocks::new();
        assert_eq!(clocks.next(&mut heartbeat), (Due::Ping, 25));
        assert_eq!(clocks.next(&mut heartbeat), (Due::GiveUp, 50));
        assert_eq!(heartbeat.silence(clocks.now), Duration::from_secs(50));
    }

    #[test]
    fn a_connection_that_answers_lives_on() {
        let (mut clocks, mut heartbeat) = Clocks::new();
        for ping in 1..100 {
            assert_eq!(clocks.next(&mut heartbeat), (Due::Ping, ping * 25));
            heartbeat.on_heard(clocks.now);
        }
    }

    #[test]
    fn a_machine_that_slept_pings_at_once_and_does_not_wait_long() {
        let (mut clocks, mut heartbeat) = Clocks::new();
        clocks.slept = Duration::from_secs(3600);
        assert_eq!(clocks.next(&mut heartbeat), (Due::Ping, 5));
        assert_eq!(clocks.next(&mut heartbeat), (Due::GiveUp, 10));

        let (mut clocks, mut heartbeat) = Clocks::new();
        clocks.slept = Duration::from_secs(3600);
        assert_eq!(clocks.next(&mut heartbeat), (Due::Ping, 5));
        heartbeat.on_heard(clocks.now);
        assert_eq!(clocks.next(&mut heartbeat), (Due::Ping, 30), "it is there, and all is as before");
    }

    #[test]
    fn a_clock_that_is_set_back_changes_nothing() {
        let (mut clocks, mut heartbeat) = Clocks::new();
        clocks.wall -= Duration::from_secs(3600);
        assert_eq!(clocks.next(&mut heartbeat), (Due::Ping, 25));
    }
}
