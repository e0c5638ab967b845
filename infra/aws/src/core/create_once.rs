//! Creating a resource for which AWS has neither a client token nor a unique name.

use std::time::Duration;

use crate::core::backoff::Backoff;
use crate::{Error, Stop};

/// Creates a resource. If the reply is lost, looks for it by tag before it tries again.
///
/// The SDK repeats a call whose reply was lost, and EC2 would then make a second VPC. So `create` must turn the SDK's
/// retries off. A call that AWS carries out after the look still makes a second one: the next plan removes it.
///
/// # Errors
/// The error of the fourth try.
pub(crate) async fn create_once<T, C, Creating, F, Finding>(
    stop: &Stop,
    mut create: C,
    mut find: F,
) -> Result<T, Error>
where
    C: FnMut() -> Creating,
    Creating: Future<Output = Result<T, Error>>,
    F: FnMut() -> Finding,
    Finding: Future<Output = Result<Option<T>, Error>>,
{
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(2));
    for _ in 1..4 {
        match Box::pin(create()).await {
            Err(error) if error.is_ambiguous() || error.is_throttle() => (),
            result => return result,
        }
        stop.sleep(backoff.pause()).await?;
        if let Some(found) = Box::pin(find()).await? {
            return Ok(found);
        }
    }
    Box::pin(create()).await
}

/// Returns the settings of a call that the SDK must not repeat.
pub(crate) fn unrepeated() -> aws_sdk_ec2::config::Builder {
    aws_sdk_ec2::config::Config::builder().retry_config(aws_config::retry::RetryConfig::disabled())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn lost() -> Error {
        Error::NoAnswer { service: "ec2", operation: "CreateVpc", source: "connection reset".into() }
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_lost_reply_has_made_is_found_and_not_made_again() {
        let made = Cell::new(0);
        let create = || async {
            made.set(made.get() + 1);
            Err::<u32, _>(lost())
        };
        let find = || async { Ok((made.get() > 0).then_some(7)) };
        assert_eq!(create_once(&Stop::new(), create, find).await.unwrap(), 7);
        assert_eq!(made.get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_did_nothing_is_made_again() {
        let calls = Cell::new(0);
        let create = || async {
            calls.set(calls.get() + 1);
            if calls.get() == 2 { Ok(7) } else { Err(lost()) }
        };
        let find = || async { Ok(None) };
        assert_eq!(create_once(&Stop::new(), create, find).await.unwrap(), 7);
        assert_eq!(calls.get(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_clear_refusal_is_not_tried_again() {
        let calls = Cell::new(0);
        let create = || async {
            calls.set(calls.get() + 1);
            Err::<u32, _>(Error::Missing { what: "quota".into() })
        };
        let find = || async { Ok(None) };
        create_once(&Stop::new(), create, find).await.unwrap_err();
        assert_eq!(calls.get(), 1);
    }
}
