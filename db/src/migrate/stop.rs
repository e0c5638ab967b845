//! A flag that asks a run to stop.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

/// A wish to stop. Cheap to clone; all clones are one flag.
#[derive(Clone)]
pub struct Stop(Arc<watch::Sender<bool>>);

impl Stop {
    /// Returns a flag that is not raised.
    pub fn new() -> Stop {
        Stop(Arc::new(watch::Sender::new(false)))
    }

    /// Raises the flag. No tenant begins any more; what is in flight comes to its end or is rolled back.
    pub fn raise(&self) {
        self.0.send_replace(true);
    }

    /// Returns whether the flag is raised.
    pub fn is_raised(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until the flag is raised.
    pub async fn raised(&self) {
        let mut flag = self.0.subscribe();
        flag.wait_for(|raised| *raised).await.expect("invariant: the sender lives in `self`");
    }
}

impl Default for Stop {
    fn default() -> Stop {
        Stop::new()
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stop").field(&self.is_raised()).finish()
    }
}
