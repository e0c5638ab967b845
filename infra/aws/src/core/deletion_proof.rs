//! Proof that a resource no longer exists: an accepted deletion is none, a look that finds nothing is.

use std::time::SystemTime;

use aws_sdk_ec2::primitives::{DateTime, DateTimeFormat};

use crate::Error;
use crate::core::job::Job;
use crate::core::wait::{Probe, wait_until};

/// The call that showed that a resource no longer exists.
#[derive(Clone, Debug)]
pub(crate) struct DeletionProof {
    /// When, RFC 3339.
    pub(crate) at: String,
    /// `ec2:DescribeSubnets`
    pub(crate) call: String,
    /// An error's code, a state, or `none`.
    pub(crate) answer: String,
}

/// What a look at one resource showed.
pub(crate) enum Presence {
    /// It exists, in that state.
    Present(String),
    /// It does not exist, in the service's own words.
    Absent(String),
}

impl Presence {
    /// Returns what a list that was filtered by one id shows.
    pub(crate) fn of_list<T>(list: &[T]) -> Presence {
        if list.is_empty() {
            Presence::Absent("none".to_owned())
        } else {
            Presence::Present("still there".to_owned())
        }
    }
}

/// Polls until the resource no longer exists; the dependents of its deletion are released first.
///
/// # Errors
/// The look was refused, or the resource still exists after `settle_within`.
pub(crate) async fn wait_until_absent<F, Fut>(
    job: &Job<'_>,
    service: &str,
    operation: &str,
    mut look: F,
) -> Result<DeletionProof, Error>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<Presence, Error>>,
{
    job.release_dependents();
    let answer = wait_until(job, job.options.settle_within, || {
        let look = look();
        async {
            match look.await {
                Ok(Presence::Present(state)) => Ok(Probe::Pending(state)),
                Ok(Presence::Absent(answer)) => Ok(Probe::Ready(answer)),
                Err(error) if error.is_gone() => Ok(Probe::Ready(error.code().unwrap_or("gone").to_owned())),
                Err(error) => Err(error),
            }
        }
    })
    .await?;
    Ok(deletion_proof(service, operation, answer))
}

/// Returns the proof that a call has given just now.
pub(crate) fn deletion_proof(service: &str, operation: &str, answer: impl Into<String>) -> DeletionProof {
    DeletionProof { at: now(), call: format!("{service}:{operation}"), answer: answer.into() }
}

/// Returns the time now, RFC 3339.
pub(crate) fn now() -> String {
    // Whole seconds: a receipt is not more exact than that.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let now = DateTime::from_secs(i64::try_from(now).unwrap_or(i64::MAX));
    now.fmt(DateTimeFormat::DateTime).unwrap_or_default()
}
