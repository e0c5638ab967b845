//! Cleanup before the program ends, whether its task succeeds, fails, panics or is interrupted.

use std::fmt;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use tokio::time::timeout;

use crate::running::{Look, Running};

/// Time for cleanup after a second signal.
pub const AT_ONCE: Duration = Duration::from_secs(3);
/// Time for cleanup after a task. A session's own limit is shorter.
const IN_GOOD_ORDER: Duration = Duration::from_secs(20);

/// Something at AWS that outlives this program unless it is ended.
pub trait Cleanup: Send + Sync {
    /// Ends it. A second call does nothing.
    fn end(&self) -> BoxFuture<'_, ()>;
}

/// What is open at AWS, and who gets Ctrl-C. Clones share one state.
#[derive(Clone, Default)]
pub struct Shutdown {
    open: Arc<Mutex<Vec<Arc<dyn Cleanup>>>>,
    foreground: Arc<AtomicUsize>,
    closing_note: Arc<Mutex<Option<Look>>>,
}

impl Shutdown {
    /// Registers something to end.
    pub fn remember(&self, open: Arc<dyn Cleanup>) {
        self.lock().push(open);
    }

    /// Ends everything that is open, concurrently, within `limit`.
    pub async fn end_all(&self, limit: Duration) {
        let open = std::mem::take(&mut *self.lock());
        // A session that does not end in time ends by itself when it is idle.
        drop(timeout(limit, join_all(open.iter().map(|open| open.end()))).await);
    }

    /// Runs a task, then ends everything that it left open, even if it panics.
    pub async fn after<T>(&self, task: impl Future<Output = T>) -> T {
        let outcome = AssertUnwindSafe(task).catch_unwind().await;
        self.end_all(IN_GOOD_ORDER).await;
        outcome.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Sets the check that says at the end what still runs and costs; `None` if nothing runs any more.
    pub fn set_closing_note(&self, look: Option<Look>) {
        *self.closing_note.lock().unwrap_or_else(PoisonError::into_inner) = look;
    }

    /// Returns what still runs and costs now.
    pub async fn closing_note(&self) -> Option<Running> {
        let look = self.closing_note.lock().unwrap_or_else(PoisonError::into_inner).clone();
        look?().await
    }

    /// Leaves Ctrl-C to a child on the same terminal until the guard is dropped. The child gets it from the terminal.
    pub fn leave_interrupts(&self) -> Foreground {
        self.foreground.fetch_add(1, Ordering::Relaxed);
        Foreground(self.foreground.clone())
    }

    /// Tells whether Ctrl-C is left to a child.
    pub(crate) fn leaves_interrupts(&self) -> bool {
        self.foreground.load(Ordering::Relaxed) > 0
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<dyn Cleanup>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shutdown").field("open", &self.lock().len()).finish_non_exhaustive()
    }
}

/// While this guard lives, Ctrl-C is left to a child.
#[derive(Debug)]
pub struct Foreground(Arc<AtomicUsize>);

impl Drop for Foreground {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Session(AtomicUsize);

    impl Cleanup for Session {
        fn end(&self) -> BoxFuture<'_, ()> {
            async {
                tokio::task::yield_now().await;
                self.0.fetch_add(1, Ordering::Relaxed);
            }
            .boxed()
        }
    }

    #[tokio::test]
    async fn a_task_that_panics_leaves_no_session() {
        let (shutdown, session) = (Shutdown::default(), Arc::new(Session::default()));
        shutdown.remember(session.clone());
        let task = async { panic!("a defect") };
        let panicked = AssertUnwindSafe(shutdown.after::<()>(task)).catch_unwind().await;
        assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&"a defect"), "the panic goes on");
        assert_eq!(session.0.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn what_a_task_leaves_open_is_ended_once() {
        let (shutdown, session) = (Shutdown::default(), Arc::new(Session::default()));
        shutdown.remember(session.clone());
        assert_eq!(shutdown.after(async { 7 }).await, 7);
        shutdown.end_all(AT_ONCE).await;
        assert_eq!(session.0.load(Ordering::Relaxed), 1);
    }
}
