//! Waiting for what AWS does in the background.
//!
//! Each look is boxed: one call of the SDK is a future of ten kilobytes.

use std::time::Duration;

use tokio::time::Instant;

use super::backoff::Backoff;
use super::job::Job;
use crate::Error;

/// What one look showed.
pub(crate) enum Probe<T> {
    /// It is as wanted.
    Ready(T),
    /// Not yet; the status in the service's own words.
    Pending(String),
}

/// Polls until it is ready, and reports every new status.
///
/// # Errors
/// [`Error::TimedOut`] holds the last status seen. Up to three looks in a row may get no answer.
pub(crate) async fn wait_until<T, F, Fut>(job: &Job<'_>, limit: Duration, mut look: F) -> Result<T, Error>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<Probe<T>, Error>>,
{
    const UNANSWERED_AT_MOST: u32 = 3;
    let began = Instant::now();
    let mut backoff = Backoff::default();
    let mut unanswered = 0;
    let mut last = String::new();
    loop {
        match Box::pin(look()).await {
            Ok(Probe::Ready(found)) => return Ok(found),
            Ok(Probe::Pending(status)) => {
                unanswered = 0;
                if status != last {
                    job.waiting(&status);
                    last = status;
                }
            }
            Err(error) if error.is_ambiguous() && unanswered < UNANSWERED_AT_MOST => unanswered += 1,
            Err(error) => return Err(error),
        }
        let waited = began.elapsed();
        if waited >= limit {
            return Err(Error::TimedOut { subject: job.subject.clone(), status: last, waited });
        }
        job.stop.sleep(backoff.pause()).await?;
    }
}
