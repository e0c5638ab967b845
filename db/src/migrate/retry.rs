//! Which failures are tried again, how often and how soon.

use std::time::Duration;

use crate::{Cause, Error};

/// What is tried again, how often and how soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How often a tenant is tried in all; 1 is never again.
    pub attempts: u32,
    /// The pause before the second attempt; each later one is twice as long, up to [`Retry::LONGEST`].
    pub first_pause: Duration,
}

impl Retry {
    /// The longest pause between two attempts.
    pub const LONGEST: Duration = Duration::from_secs(10);

    /// Returns the pause after the attempt of that number, counted from 1; nothing if it was the last.
    pub(super) fn pause_after(self, attempt: u32) -> Option<Duration> {
        let longest = || {
            let factor = 1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
            self.first_pause.saturating_mul(factor).min(Retry::LONGEST)
        };
        // Tenants that failed together must not all come back together.
        (attempt < self.attempts).then(longest).map(|pause| pause.mul_f64(rand::random_range(0.5..=1.0)))
    }
}

impl Default for Retry {
    fn default() -> Retry {
        Retry { attempts: 5, first_pause: Duration::from_millis(250) }
    }
}

/// Returns in a few words why the same may work in a moment, if it may.
pub(super) fn reason(error: &Error) -> Option<&'static str> {
    if let Error::Dial { .. } = error {
        return Some("no connection");
    }
    if let Error::HistoryConflict { .. } = error {
        return Some("another program was quicker");
    }
    match error.cause()? {
        // A server that speaks nonsense now will do so again.
        cause @ Cause::Client(_) => cause.is_lost().then_some("the connection was lost"),
        Cause::Refused(refusal) => match refusal.sqlstate.as_str() {
            "55P03" => Some("a lock was not to be had in time"),
            "40P01" => Some("a deadlock"),
            "40001" => Some("another transaction came in between"),
            "53300" => Some("the server has no connection left"),
            // A file may raise these itself, and then the session lives.
            _ if !refusal.ends_session() => None,
            "57P01" | "57P02" | "57P03" => Some("the server shut the connection"),
            "08P01" => None,
            code if code.starts_with("08") => Some("the connection was lost"),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, Refusal};

    fn refused(severity: &str, sqlstate: &str) -> Error {
        let refusal = Refusal {
            severity: severity.to_owned(),
            sqlstate: sqlstate.to_owned(),
            message: "no".to_owned(),
            detail: None,
            hint: None,
            context: None,
            position: None,
        };
        Error::Statement { doing: "work".to_owned(), source: refusal.into() }
    }

    #[test]
    fn what_passes_by_itself_is_tried_again_and_nothing_else() {
        for code in ["55P03", "40P01", "40001", "53300"] {
            assert!(reason(&refused("ERROR", code)).is_some(), "{code}");
        }
        for code in ["57P01", "08006"] {
            let (said, ended) = (refused("ERROR", code), refused("FATAL", code));
            assert!(reason(&ended).is_some() && ended.kind() == Kind::Unreachable, "{code}");
            assert!(reason(&said).is_none() && said.kind() == Kind::Failed, "{code}");
        }
        for code in ["42601", "23505", "28P01", "3D000", "57014", "08P01", "25P02"] {
            assert_eq!(reason(&refused("ERROR", code)), None, "{code}");
        }
        assert_eq!(reason(&Error::History { table: String::new(), reason: String::new() }), None);
    }

    #[test]
    fn pauses_grow_stay_bounded_and_end() {
        let retry = Retry { attempts: 40, first_pause: Duration::from_millis(100) };
        for attempt in 1..40 {
            let pause = retry.pause_after(attempt).unwrap();
            assert!(pause >= Duration::from_millis(50) && pause <= Retry::LONGEST, "{attempt}: {pause:?}");
        }
        assert_eq!(retry.pause_after(40), None);
        assert_eq!(Retry { attempts: 1, ..retry }.pause_after(1), None);
    }
}
