//! What a running step knows of its plan: what it still needs, and who waits for it.

use std::sync::Arc;

use stack::plan::{Needs, Schedule};
use tokio::sync::{mpsc, watch};

use crate::core::state::{Change, State};
use crate::{Error, Stop};

/// How far a plan has come.
#[derive(Clone)]
pub(crate) struct Progress {
    pub(crate) schedule: Schedule,
    pub(crate) state: Arc<State>,
}

/// Connects a running step to its plan.
pub(crate) struct StepHandle {
    pub(crate) index: usize,
    pub(crate) progress: watch::Receiver<Progress>,
    pub(crate) ahead: mpsc::UnboundedSender<Ahead>,
}

/// A message that a step sends before it ends: its dependents may begin.
pub(crate) struct Ahead {
    pub(crate) index: usize,
    /// `up`: what the dependents need to know. `None` in `down`: AWS has accepted the deletion.
    pub(crate) change: Option<Change>,
}

impl StepHandle {
    /// Waits until everything that the step needs exists, and returns what exists then.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if a step that it needs will not be done.
    pub(crate) async fn needs_met(&self, stop: &Stop) -> Result<Arc<State>, Error> {
        let mut progress = self.progress.clone();
        let changed = progress.wait_for(|progress| progress.schedule.needs(self.index) != Needs::Pending);
        let progress = tokio::select! {
            () = stop.raised() => return Err(Error::Interrupted),
            changed = changed => changed.map_err(|_| Error::Interrupted)?.clone(),
        };
        match progress.schedule.needs(self.index) {
            Needs::Met => Ok(progress.state),
            Needs::Pending | Needs::Lost => Err(Error::Interrupted),
        }
    }

    /// Lets the dependents of this step begin.
    pub(crate) fn tell_ahead(&self, change: Option<Change>) {
        // The receiver is gone only when the plan is dropped; then no step waits.
        let _nobody_hears = self.ahead.send(Ahead { index: self.index, change });
    }
}
