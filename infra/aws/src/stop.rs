//! The user's wish to stop.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::Error;

/// A wish to stop, raised by Ctrl-C. Cheap to clone; all clones are one flag.
#[derive(Clone)]
pub struct Stop(Arc<watch::Sender<bool>>);

impl Stop {
    /// Returns a flag that is not raised.
    pub fn new() -> Stop {
        Stop(Arc::new(watch::Sender::new(false)))
    }

    /// Raises the flag. What is in flight comes to its end; waits end at once; nothing new begins.
    pub fn raise(&self) {
        self.0.send_replace(true);
    }

    /// Tells whether the flag is raised.
    pub fn is_raised(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until the flag is raised.
    pub async fn raised(&self) {
        let mut flag = self.0.subscribe();
        flag.wait_for(|raised| *raised).await.expect("invariant: the sender lives in `self`");
    }

    /// Sleeps, unless the flag is raised.
    pub(crate) async fn sleep(&self, time: Duration) -> Result<(), Error> {
        tokio::select! {
            () = self.raised() => Err(Error::Interrupted),
            () = tokio::time::sleep(time) => Ok(()),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_raised_flag_ends_a_sleep_at_once() {
        let stop = Stop::new();
        stop.raise();
        assert!(matches!(stop.sleep(Duration::from_secs(3600)).await, Err(Error::Interrupted)));
    }
}
