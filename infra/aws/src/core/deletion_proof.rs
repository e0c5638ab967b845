//! Real absence: a deletion that was accepted proves nothing, a look that finds nothing does.

use std::time::SystemTime;

use aws_sdk_ec2::primitives::{DateTime, DateTimeFormat};

use crate::Error;
use crate::core::job::Job;
use crate::core::wait::{Probe, wait_until};

/// The call that showed that something is gone.
#[derive(Clone, Debug)]
pub(crate) struct Proof {
    /// When, RFC 3339.
    pub(crate) at: String,
    /// `ec2:DescribeSubnets`
    pub(crate) call: String,
    /// An error's code, a state, or `none`.
    pub(crate) answer: String,
}

/// What a look at one thing showed.
pub(crate) enum Seen {
    /// It is there, in that state.
    There(String),
    /// It is not; in the service's own word.
    Absent(String),
}

impl Seen {
    /// Returns what a list shows that was asked for one thing by its id.
    pub(crate) fn any<T>(list: &[T]) -> Seen {
        if list.is_empty() { Seen::Absent("none".to_owned()) } else { Seen::There("still there".to_owned()) }
    }
}

/// Looks until the thing is gone, whose deletion was accepted: what waited for that begins meanwhile.
///
/// # Errors
/// The look was refused, or it is there even after the time that a removal may wait: neither is absence.
pub(crate) async fn absent<F, Fut>(
    job: &Job<'_>,
    service: &str,
    operation: &str,
    mut look: F,
) -> Result<Proof, Error>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<Seen, Error>>,
{
    job.release_dependents();
    let answer = wait_until(job, job.options.settle_within, || {
        let look = look();
        async {
            match look.await {
                Ok(Seen::There(state)) => Ok(Probe::Pending(state)),
                Ok(Seen::Absent(answer)) => Ok(Probe::Ready(answer)),
                Err(error) if error.is_gone() => Ok(Probe::Ready(error.code().unwrap_or("gone").to_owned())),
                Err(error) => Err(error),
            }
        }
    })
    .await?;
    Ok(proof(service, operation, answer))
}

/// Returns the proof that a call made just now has given.
pub(crate) fn proof(service: &str, operation: &str, answer: impl Into<String>) -> Proof {
    Proof { at: now(), call: format!("{service}:{operation}"), answer: answer.into() }
}

/// Returns the time, RFC 3339.
pub(crate) fn now() -> String {
    // Whole seconds: more would say more than a receipt can mean.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let now = DateTime::from_secs(i64::try_from(now).unwrap_or(i64::MAX));
    now.fmt(DateTimeFormat::DateTime).unwrap_or_default()
}
