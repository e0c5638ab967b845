//! Whether the agent is still there.
//!
//! The service answers pings for an agent that has died. Only what the agent itself must acknowledge tells.

use std::time::{Duration, Instant};

/// How long an agent may owe a sign before it is given up. It is asked for one after a third of that, so that the user
/// hears of its end within 80 seconds.
pub(crate) const AGENT_LIMIT: Duration = Duration::from_secs(60);

/// The limits, and what has been done about the present silence.
#[derive(Debug)]
pub(crate) struct Liveness {
    limit: Duration,
    reconnected: bool,
    told: bool,
}

/// What is known of the agent now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signs {
    /// When it was heard last.
    pub(crate) heard: Instant,
    /// Since when it has owed an acknowledgement without a word.
    pub(crate) owing: Option<Instant>,
    /// Whether somebody waits for something that only a living agent can bring.
    pub(crate) is_needed: bool,
    /// Whether a target that does not read would explain the silence: an agent stops reading then, too.
    pub(crate) may_be_stalled: bool,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    /// Send something that must be acknowledged.
    Ask,
    /// Try another websocket.
    Reconnect,
    /// Tell that nothing moves.
    Tell(Duration),
    /// The agent is gone.
    GiveUp,
}

impl Liveness {
    /// Returns the watch over an agent that is given up when it owes a sign for `limit`.
    pub(crate) fn new(limit: Duration) -> Liveness {
        Liveness { limit, reconnected: false, told: false }
    }

    /// Returns how long the agent may owe a sign.
    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    /// Returns after how long without a sign new streams go elsewhere.
    pub(crate) fn doubtful_after(&self) -> Duration {
        self.limit / 12
    }

    /// An agent that was not heard for so long is asked for a sign, while somebody depends on it; one that owes a sign for
    /// so long is tried over another websocket.
    fn patience(&self) -> Duration {
        self.limit / 3
    }

    pub(crate) fn due(&mut self, signs: Signs, now: Instant) -> Due {
        let Some(since) = signs.owing else {
            (self.reconnected, self.told) = (false, false);
            let asked = signs.is_needed && now >= signs.heard + self.patience();
            return if asked { Due::Ask } else { Due::Nothing };
        };
        let silence = now.saturating_duration_since(since);
        if silence < self.patience() {
            (self.reconnected, self.told) = (false, false);
        } else if silence >= self.limit && !signs.may_be_stalled {
            return Due::GiveUp;
        } else if silence >= self.limit && !std::mem::replace(&mut self.told, true) {
            return Due::Tell(silence);
        } else if !signs.may_be_stalled && !std::mem::replace(&mut self.reconnected, true) {
            return Due::Reconnect;
        }
        Due::Nothing
    }

    /// Returns when to ask [`Liveness::due`] next.
    pub(crate) fn next(&self, signs: Signs) -> Option<Instant> {
        match signs.owing {
            None => signs.is_needed.then(|| signs.heard + self.patience()),
            Some(since) if !self.reconnected && !signs.may_be_stalled => Some(since + self.patience()),
            Some(since) => (!self.told).then(|| since + self.limit),
        }
    }
}
