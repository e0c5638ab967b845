//! Repeating a call after an error that goes away by itself.
//!
//! Each call is boxed: one call of the SDK is a future of ten kilobytes.

use std::time::Duration;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::time::Instant;

use super::backoff::Backoff;
use super::job::Job;
use crate::{Error, Stop};

/// How long a resource that was just made may be unknown to other calls of the same service.
pub(crate) const VISIBLE_WITHIN: Duration = Duration::from_secs(30);

/// Repeats the call as long as the error is `transient` and the time is not over.
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

/// Repeats the call while AWS does not know yet what was made a moment ago.
pub(crate) async fn visible<T, F, Fut>(job: &Job<'_>, call: F) -> Result<T, Error>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, Error>>,
{
    retry_while(job.stop, VISIBLE_WITHIN, Error::is_gone, call).await
}

/// Deletes a resource. One that no longer exists counts as deleted. Waits while something still uses it.
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

/// Calls at a time: IAM and SNS take about ten a second.
const AT_ONCE: usize = 4;

/// Makes one call for each entry of a list, a few at a time, and slows down where the service asks for that. Lists show no
/// tags, and an account may have hundreds of entries.
///
/// # Errors
/// The first call that failed for another reason, or was still throttled at the last try.
pub(crate) async fn ask_each<T, R, F, Fut>(things: Vec<T>, ask: F) -> Result<Vec<R>, Error>
where
    F: Fn(T) -> Fut,
    T: Clone,
    Fut: Future<Output = Result<R, Error>>,
{
    const TRIES: u32 = 8;
    let ask = &ask;
    let patiently = |thing: T| async move {
        let mut backoff = Backoff::default();
        for _ in 1..TRIES {
            match Box::pin(ask(thing.clone())).await {
                Err(error) if error.is_throttle() => tokio::time::sleep(backoff.pause()).await,
                result => return result,
            }
        }
        Box::pin(ask(thing)).await
    };
    stream::iter(things).map(patiently).buffer_unordered(AT_ONCE).try_collect().await
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
}
