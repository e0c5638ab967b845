//! Waiting for what AWS does in its own time: quick at first, then less and less often.
//!
//! Each look and call is boxed: one call of the SDK is a future of ten kilobytes.

use std::time::Duration;

use stack::Event;
use tokio::time::Instant;

use crate::Error;
use crate::step::Job;
use crate::stop::Stop;

/// How long a thing just made may be unknown to other calls of the same service.
pub(crate) const VISIBLE_WITHIN: Duration = Duration::from_secs(30);

/// Times between tries that grow by half each time.
pub(crate) struct Backoff {
    next: Duration,
    cap: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, cap: Duration) -> Backoff {
        Backoff { next: first, cap }
    }

    /// Returns how long to sleep now.
    pub(crate) fn pause(&mut self) -> Duration {
        let now = self.next;
        self.next = (now * 3 / 2).min(self.cap);
        now
    }
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff::new(Duration::from_millis(100), Duration::from_secs(10))
    }
}

/// What one look showed.
pub(crate) enum Probe<T> {
    /// It is as it was waited for.
    Ready(T),
    /// It is not yet; the status in the service's own words.
    Pending(String),
}

/// Looks again and again until it is ready, telling every new status.
///
/// # Errors
/// [`Error::TimedOut`] holds the last status seen. A few looks in a row may go unanswered.
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

/// Calls again as long as the error is `transient` and the time is not over.
///
/// # Errors
/// The last one.
pub(crate) async fn retry_while<T, F, Fut>(
    stop: &Stop,
    limit: Duration,
    transient: fn(&Error) -> bool,
    mut call: F,
) -> Result<T, Error>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, Error>>,
{
    let began = Instant::now();
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    loop {
        match Box::pin(call()).await {
            Err(error) if transient(&error) && began.elapsed() < limit => {
                stop.sleep(backoff.pause()).await?;
            }
            result => return result,
        }
    }
}

/// Calls again while AWS does not yet know what was made a moment ago.
pub(crate) async fn visible<T, F, Fut>(job: &Job<'_>, call: F) -> Result<T, Error>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, Error>>,
{
    retry_while(job.stop, VISIBLE_WITHIN, Error::is_gone, call).await
}

/// Deletes: gone already counts as deleted, and what still uses it is waited for.
///
/// # Errors
/// The last refusal, once the time is over.
pub(crate) async fn delete<T, F, Fut>(job: &Job<'_>, call: F) -> Result<(), Error>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, Error>>,
{
    match retry_while(job.stop, job.options.settle_within, Error::is_conflict, call).await {
        Err(error) if !error.is_gone() => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

impl Job<'_> {
    /// Tells what is waited for.
    pub(crate) fn waiting(&self, status: &str) {
        self.events.emit(Event::StepWaiting { subject: self.subject.clone(), status: status.to_owned() });
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn refused(code: &str) -> Error {
        Error::Service {
            service: "ec2",
            operation: "DeleteSubnet",
            status: 400,
            code: code.to_owned(),
            message: "no".to_owned(),
            request_id: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_transient_refusal_is_tried_again_until_the_time_is_over() {
        let calls = Cell::new(0);
        let call = || async {
            calls.set(calls.get() + 1);
            Err::<(), _>(refused("DependencyViolation"))
        };
        let limit = Duration::from_secs(20);
        let result = retry_while(&Stop::new(), limit, Error::is_conflict, call).await;
        assert_eq!(result.unwrap_err().code(), Some("DependencyViolation"));
        assert!(calls.get() > 5, "{} calls", calls.get());
    }

    #[tokio::test(start_paused = true)]
    async fn another_refusal_ends_the_tries_at_once() {
        let calls = Cell::new(0);
        let call = || async {
            calls.set(calls.get() + 1);
            Err::<(), _>(refused("UnauthorizedOperation"))
        };
        let limit = Duration::from_secs(20);
        retry_while(&Stop::new(), limit, Error::is_conflict, call).await.unwrap_err();
        assert_eq!(calls.get(), 1);
    }

    #[tokio::test]
    async fn a_raised_flag_ends_a_sleep_at_once() {
        let stop = Stop::new();
        stop.raise();
        assert!(matches!(stop.sleep(Duration::from_secs(3600)).await, Err(Error::Interrupted)));
    }
}
