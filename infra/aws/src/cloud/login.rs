//! Who we are, found out once: the SDK's calls and our own signatures share one set of credentials.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, SharedCredentialsProvider, future};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use super::clock::Clock;

/// Credentials that end so soon are replaced. The SDK asks for others a little later than that.
const SPENT_BEFORE: Duration = Duration::from_secs(60);
/// A failure is good for all that ask at the same moment; later the user may have logged in.
const FAILURE_LASTS: Duration = Duration::from_secs(5);

/// A provider that asks another one, once, and keeps the answer for as long as it is good.
///
/// The other may take its time, because a `credential_process` may ask somebody: whoever gives up waiting for it does not
/// stop it, and the next who asks gets its answer.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    inner: SharedCredentialsProvider,
    clock: Clock,
    held: Arc<Mutex<Held>>,
}

#[derive(Debug, Default)]
struct Held {
    credentials: Option<Credentials>,
    failure: Option<(Failure, Instant)>,
    asking: Option<JoinHandle<provider::Result>>,
}

/// What of a failure can be told again.
#[derive(Clone, Debug)]
struct Failure {
    is_absence: bool,
    said: String,
}

impl Login {
    pub(crate) fn new(inner: SharedCredentialsProvider, clock: Clock) -> Login {
        Login { inner, clock, held: Arc::default() }
    }

    /// Returns the credentials, however long it takes to get some.
    pub(crate) async fn credentials(&self) -> provider::Result {
        let mut held = self.held.lock().await;
        if let Some(credentials) = held.credentials.as_ref().filter(|one| self.is_good(one)) {
            return Ok(credentials.clone());
        }
        if let Some((failure, since)) = &held.failure
            && since.elapsed() < FAILURE_LASTS
        {
            return Err(failure.error());
        }
        let asking = held.asking.get_or_insert_with(|| {
            let inner = self.inner.clone();
            tokio::spawn(async move { inner.provide_credentials().await })
        });
        let answer = match asking.await {
            Ok(answer) => answer,
            Err(lost) => Err(CredentialsError::unhandled(lost)),
        };
        held.asking = None;
        match answer {
            Ok(credentials) => {
                held.failure = None;
                held.credentials = Some(credentials.clone());
                Ok(credentials)
            }
            Err(error) => {
                let failure = Failure::of(&error);
                held.failure = Some((failure.clone(), Instant::now()));
                Err(failure.error())
            }
        }
    }

    fn is_good(&self, credentials: &Credentials) -> bool {
        credentials.expiry().is_none_or(|expiry| expiry > self.clock.now() + SPENT_BEFORE)
    }
}

impl ProvideCredentials for Login {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.credentials())
    }
}

impl Failure {
    fn of(error: &CredentialsError) -> Failure {
        let mut said = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            said = format!("{said}: {}", cause.to_string().trim());
            source = cause.source();
        }
        Failure { is_absence: matches!(error, CredentialsError::CredentialsNotLoaded(_)), said }
    }

    fn error(&self) -> CredentialsError {
        if self.is_absence {
            CredentialsError::not_loaded(self.said.clone())
        } else {
            CredentialsError::provider_error(self.said.clone())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::SystemTime;

    use tokio::sync::Semaphore;

    use super::*;

    /// A helper that waits until it is let go, and counts how often it was asked.
    #[derive(Clone, Debug)]
    struct Helper {
        asked: Arc<AtomicUsize>,
        let_go: Arc<Semaphore>,
        expires_after: Option<Duration>,
        fails: bool,
    }

    impl ProvideCredentials for Helper {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::new(async {
                self.asked.fetch_add(1, Ordering::Relaxed);
                self.let_go.acquire().await.map_err(CredentialsError::unhandled)?.forget();
                if self.fails {
                    return Err(CredentialsError::provider_error("the device is locked"));
                }
                let expiry = self.expires_after.map(|after| SystemTime::now() + after);
                Ok(Credentials::new("id", "key", None, expiry, "helper"))
            })
        }
    }

    fn login(expires_after: Option<Duration>, fails: bool, answers: usize) -> (Helper, Login) {
        let let_go = Arc::new(Semaphore::new(answers));
        let helper = Helper { asked: Arc::default(), let_go, expires_after, fails };
        let login = Login::new(SharedCredentialsProvider::new(helper.clone()), Clock::default());
        (helper, login)
    }

    #[tokio::test]
    async fn all_who_ask_share_one_answer() {
        let (helper, login) = login(None, false, 1);
        let (one, two) = tokio::join!(login.credentials(), login.credentials());
        assert_eq!(one.unwrap().access_key_id(), two.unwrap().access_key_id());
        login.credentials().await.unwrap();
        assert_eq!(helper.asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_gives_up_waiting_does_not_make_the_helper_start_again() {
        let (helper, login) = login(None, false, 0);
        assert!(tokio::time::timeout(Duration::from_secs(35), login.credentials()).await.is_err());
        helper.let_go.add_permits(1);
        login.credentials().await.unwrap();
        assert_eq!(helper.asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn credentials_that_are_nearly_spent_are_replaced() {
        let (helper, login) = login(Some(Duration::from_secs(30)), false, 2);
        login.credentials().await.unwrap();
        login.credentials().await.unwrap();
        assert_eq!(helper.asked.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_failure_is_told_to_all_in_the_helpers_words() {
        let (helper, login) = login(None, true, 1);
        for _ in 0..2 {
            let error = login.credentials().await.unwrap_err();
            assert!(Failure::of(&error).said.contains("the device is locked"), "{error:?}");
        }
        assert_eq!(helper.asked.load(Ordering::Relaxed), 1);
    }
}
