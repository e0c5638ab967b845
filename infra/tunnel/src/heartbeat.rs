//! When to ping a connection, and when to give it up.

use std::time::{Duration, Instant};

/// NAT gateways and load balancers forget connections that are silent for a minute.
const PING: Duration = Duration::from_secs(25);
/// A connection from which nothing came for two pings is dead, whatever the socket says.
pub(crate) const SILENCE: Duration = Duration::from_secs(50);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Heartbeat {
    heard: Instant,
    ping_at: Instant,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    Ping,
    GiveUp,
}

impl Heartbeat {
    pub(crate) fn new(now: Instant) -> Heartbeat {
        Heartbeat { heard: now, ping_at: now + PING }
    }

    /// Anything came: data, a pong, a ping of the other end.
    pub(crate) fn on_heard(&mut self, now: Instant) {
        self.heard = now;
    }

    pub(crate) fn due(&mut self, now: Instant) -> Due {
        if now >= self.heard + SILENCE {
            return Due::GiveUp;
        }
        if now >= self.ping_at {
            self.ping_at = now + PING;
            return Due::Ping;
        }
        Due::Nothing
    }

    pub(crate) fn next(&self) -> Instant {
        self.ping_at.min(self.heard + SILENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_pinged_before_it_is_given_up() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(start);
        let mut now = start;
        let mut pings = Vec::new();
        while now <= start + Duration::from_secs(60) {
            now = heartbeat.next();
            match heartbeat.due(now) {
                Due::Ping => pings.push((now - start).as_secs()),
                Due::GiveUp => break,
                Due::Nothing => panic!("woken for nothing"),
            }
        }
        assert_eq!(pings, [25]);
        assert_eq!(now, start + Duration::from_secs(50));
    }

    #[test]
    fn a_connection_that_answers_lives_on() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(start);
        for _ in 0..100 {
            let now = heartbeat.next();
            assert_eq!(heartbeat.due(now), Due::Ping);
            heartbeat.on_heard(now);
        }
    }
}
