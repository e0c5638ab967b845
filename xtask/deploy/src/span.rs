//! Durations on the command line.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::failure::Failure;

/// Parses a duration.
///
/// # Errors
/// Exit 2, naming the argument.
pub fn parse(argument: &str, text: &str) -> Result<Duration, Failure> {
    stack::config::span(text)
        .map_err(|(message, help)| Failure::usage(format!("{argument}: {message}")).hint(help))
}

/// Returns the time when the duration is over, in whole seconds.
pub fn from_now(span: Duration) -> Timestamp {
    let seconds = i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or(Timestamp::UNIX_EPOCH);
    now.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}
