//! What tunnels and shells ask of AWS: sessions with the stack's bastion.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws::session::{Purpose, Started};
use aws::{Cloud, Stop};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use stack::{Event, Inventory};
use tokio::time::timeout;
use tunnel::{Control, ControlError, DataKey, SessionToken};

use crate::cause;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::shutdown::Cleanup;

/// How long Session Manager may say that a bastion is not connected although its agent is online.
const CONNECTED_WITHIN: Duration = Duration::from_secs(60);
/// How long it may say so of one that had a session before: shorter than a connection to the database waits, so that the
/// reason is told, and not that the time was over.
const CONNECTED_AGAIN_WITHIN: Duration = Duration::from_secs(20);

/// How long a session whose end failed may take to be ended after all.
const END_WITHIN: Duration = Duration::from_secs(5);
/// What is waited for while the bastion does not take a session.
const WAITING: &str = "session";

/// The way to sessions of one purpose.
pub struct Ssm {
    context: Context,
    cloud: Cloud,
    /// Another one may take its place while the tunnel is open.
    bastion: Mutex<String>,
    purpose: Purpose,
    /// The session that was started before there was a tunnel.
    first: Mutex<Option<SessionToken>>,
    /// Sessions that AWS was not told to end yet.
    open: Mutex<Vec<String>>,
    /// How long the next session may take to be started. Nothing after one failed: whoever shares the bastion would
    /// wait as long as that one did, and for nothing.
    patience: Mutex<Duration>,
    /// A session was asked for.
    has_begun: Mutex<bool>,
    /// Nobody wants another session.
    closed: Stop,
    /// It was told that the bastion does not take a session yet.
    is_waiting: Mutex<bool>,
}

impl Ssm {
    /// Returns a listener that shows what happens to sessions, and forgets those that the far end has ended.
    pub fn events(self: &Arc<Ssm>, shown: Shown) -> tunnel::Events {
        let ssm = Arc::downgrade(self);
        let events = self.context.events.clone();
        tunnel::Events::new(move |event| {
            if let tunnel::Event::Ended { session_id, why } = &event
                && why.is_session_end()
                && let Some(ssm) = ssm.upgrade()
            {
                ssm.forget(session_id);
            }
            if shown == Shown::All || !matches!(event, tunnel::Event::Ended { .. }) {
                tell(&events, &event);
            }
        })
    }

    fn forget(&self, session_id: &str) {
        lock(&self.open).retain(|open| open != session_id);
    }

    /// Starts a first session with the stack's bastion. Whatever is still open when the program ends is ended then.
    ///
    /// # Errors
    /// There is no bastion, or Session Manager does not start a session: exit 5 with the cause, where one is found.
    pub async fn open(
        context: &Context,
        cloud: &Cloud,
        inventory: &Inventory,
        purpose: Purpose,
    ) -> Result<Arc<Ssm>, Failure> {
        let bastion = inventory.bastion().ok_or_else(|| {
            Failure::new(Exit::Tunnel, anyhow::Error::msg("the stack has no bastion"))
                .hint("run `cargo xtask up bastion`")
        })?;
        let ssm = Arc::new(Ssm {
            context: context.clone(),
            cloud: cloud.clone(),
            bastion: Mutex::new(bastion.id.clone()),
            purpose,
            first: Mutex::default(),
            open: Mutex::default(),
            patience: Mutex::new(CONNECTED_WITHIN),
            has_begun: Mutex::default(),
            closed: Stop::new(),
            is_waiting: Mutex::default(),
        });
        context.shutdown.remember(ssm.clone());
        // Not left to the tunnel: the inventory may tell why it fails.
        let first = ssm.begin().await.map_err(|error| cause::of_session(error, &context.stack, inventory))?;
        *lock(&ssm.first) = Some(first);
        Ok(ssm)
    }

    /// Returns the bastion's id.
    pub fn bastion(&self) -> String {
        lock(&self.bastion).clone()
    }

    /// Gives up whatever session is being started.
    pub fn close(&self) {
        self.closed.raise();
    }

    /// Looks whether another bastion has taken the place of this one, and goes on with that.
    async fn find_successor(&self, bastion: &str) -> bool {
        // What cannot be seen changes nothing: the refusal is what is told.
        let Ok(inventory) = Box::pin(aws::observe(&self.cloud, &self.context.stack)).await else {
            return false;
        };
        let Some(successor) = inventory.bastion().filter(|found| found.id != bastion) else { return false };
        let text = format!("bastion `{bastion}` is gone; going on with `{}`", successor.id);
        self.context.events.emit(Event::Warning { text });
        lock(&self.bastion).clone_from(&successor.id);
        true
    }

    /// Ends the sessions that are still open after a tunnel or a shell was closed. What cannot be ended is a warning.
    pub async fn end(&self, closed: Result<(), tunnel::Error>) {
        let Err(error) = closed else { return };
        // A second try: the first may have met a lost answer.
        drop(timeout(END_WITHIN, Cleanup::end(self)).await);
        // Not tried a third time when the program ends.
        let open = std::mem::take(&mut *lock(&self.open));
        if open.is_empty() {
            return;
        }
        let why: String =
            anyhow::Error::new(error).chain().skip(1).map(|cause| format!(": {cause}")).collect();
        self.context.events.warn(format!(
            "session {} could not be ended{why}; it ends by itself when its idle time is over, 20 minutes unless the \
             account says otherwise",
            open.join(", ")
        ));
    }

    /// Starts a session, and says so where that takes its time.
    async fn begin(&self) -> Result<SessionToken, aws::Error> {
        let began = Instant::now();
        let begun = self.try_beginning(began).await;
        let mut is_waiting = lock(&self.is_waiting);
        if std::mem::take(&mut *is_waiting) {
            let subject = WAITING.to_owned();
            self.context.events.emit(match &begun {
                Ok(_) => {
                    let (outcome, elapsed) = ("open".to_owned(), began.elapsed());
                    Event::StepFinished { subject, outcome, elapsed }
                }
                Err(error) => Event::StepFailed { subject, error: error.to_string() },
            });
        }
        begun
    }

    /// Tells that the bastion does not take a session yet.
    fn wait(&self) {
        let subject = WAITING.to_owned();
        if !std::mem::replace(&mut *lock(&self.is_waiting), true) {
            self.context
                .events
                .emit(Event::StepStarted { subject: subject.clone(), verb: "open".to_owned() });
        }
        let status = "Session Manager says that the bastion is not connected yet".to_owned();
        self.context.events.emit(Event::StepWaiting { subject, status });
    }

    /// Starts a session; `TargetNotConnected`, and it alone, is tried again.
    async fn try_beginning(&self, began: Instant) -> Result<SessionToken, aws::Error> {
        let patience = *lock(&self.patience);
        let mut pause = Duration::from_millis(200);
        // The first session is with the bastion that was just looked at.
        let mut may_be_replaced = std::mem::replace(&mut *lock(&self.has_begun), true);
        loop {
            let bastion = self.bastion();
            match aws::session::start(&self.cloud, &bastion, &self.purpose).await {
                Err(error)
                    if error.code() == Some("TargetNotConnected")
                        && std::mem::take(&mut may_be_replaced)
                        && Box::pin(self.find_successor(&bastion)).await =>
                {
                    continue;
                }
                Err(error) if error.code() == Some("TargetNotConnected") && began.elapsed() < patience => {
                    self.wait();
                }
                Ok(started) => {
                    lock(&self.open).push(started.session_id.clone());
                    *lock(&self.patience) = CONNECTED_AGAIN_WITHIN;
                    return Ok(token(started));
                }
                Err(error) => {
                    *lock(&self.patience) = Duration::ZERO;
                    return Err(error);
                }
            }
            tokio::select! {
                () = self.context.stop.raised() => return Err(aws::Error::Interrupted),
                () = self.closed.raised() => return Err(aws::Error::Interrupted),
                () = tokio::time::sleep(pause) => (),
            }
            pause = (pause * 2).min(Duration::from_secs(3));
        }
    }
}

/// What of its sessions' events is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// All.
    All,
    /// Not how a session ends: that is the task's to tell.
    NotTheEnd,
}

/// Shows what happens to a session.
fn tell(events: &stack::Events, event: &tunnel::Event) {
    let text = event.to_string();
    match event {
        // Nobody waits for it: a step of its own would have to end with it.
        tunnel::Event::Started { .. } => events.emit(Event::Detail { text }),
        tunnel::Event::Ready { customer_message, .. } if customer_message.trim().is_empty() => (),
        tunnel::Event::Ended { why: tunnel::Error::Closed, .. } => (),
        tunnel::Event::Lost { .. }
        | tunnel::Event::ResumeFailed { .. }
        | tunnel::Event::Stalled { .. }
        | tunnel::Event::Ended { .. } => events.emit(Event::Warning { text }),
        tunnel::Event::Ready { .. } | tunnel::Event::Resumed { .. } => events.emit(Event::Note { text }),
    }
}

impl Cleanup for Ssm {
    fn end(&self) -> BoxFuture<'_, ()> {
        async move {
            let open = lock(&self.open).clone();
            // There is nobody left to tell of a failure; a session ends by itself when its idle time is over.
            drop(join_all(open.iter().map(|session_id| self.terminate(session_id))).await);
        }
        .boxed()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn token(started: Started) -> SessionToken {
    SessionToken {
        session_id: started.session_id,
        url: started.url,
        token: tunnel::Token::new(started.token.expose()),
    }
}

impl Control for Ssm {
    fn start(&self) -> BoxFuture<'_, Result<SessionToken, ControlError>> {
        let first = lock(&self.first).take();
        async move {
            match first {
                Some(first) => Ok(first),
                None => Ok(self.begin().await?),
            }
        }
        .boxed()
    }

    fn sign(&self, url: &str) -> BoxFuture<'_, Result<Vec<(String, String)>, ControlError>> {
        let url = url.to_owned();
        async move { aws::session::sign(&self.cloud, &url).await.map_err(Into::into) }.boxed()
    }

    fn prepare(&self) -> BoxFuture<'_, Result<(), ControlError>> {
        async move { aws::session::log_in(&self.cloud).await.map_err(Into::into) }.boxed()
    }

    fn resume(&self, session_id: &str) -> BoxFuture<'_, Result<Option<SessionToken>, ControlError>> {
        let session_id = session_id.to_owned();
        async move {
            let resumed = aws::session::resume(&self.cloud, &session_id).await?;
            Ok(resumed.map(token))
        }
        .boxed()
    }

    fn terminate(&self, session_id: &str) -> BoxFuture<'_, Result<(), ControlError>> {
        let session_id = session_id.to_owned();
        async move {
            aws::session::terminate(&self.cloud, &session_id).await?;
            self.forget(&session_id);
            Ok(())
        }
        .boxed()
    }

    fn data_key(
        &self,
        key_id: &str,
        context: &[(String, String)],
    ) -> BoxFuture<'_, Result<DataKey, ControlError>> {
        let (key_id, context) = (key_id.to_owned(), context.to_vec());
        async move {
            let key = aws::kms::generate_data_key(&self.cloud, &key_id, &context, DataKey::LENGTH).await?;
            Ok(DataKey::new(&key.plaintext, key.ciphertext)?)
        }
        .boxed()
    }
}
