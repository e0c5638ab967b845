//! How the steps of a plan run beside each other although some need what others bring.

use std::sync::Arc;

use stack::plan::{Needs, Schedule};
use tokio::sync::{mpsc, watch};

use crate::state::{Change, State};
use crate::{Error, Stop};

/// How far a plan is.
#[derive(Clone)]
pub(crate) struct Progress {
    pub(crate) schedule: Schedule,
    pub(crate) state: Arc<State>,
}

/// A step's place in its plan.
pub(crate) struct Course {
    pub(crate) index: usize,
    pub(crate) progress: watch::Receiver<Progress>,
    pub(crate) ahead: mpsc::UnboundedSender<Ahead>,
}

/// What a step tells before its end: the steps that wait for it may begin.
pub(crate) struct Ahead {
    pub(crate) index: usize,
    /// What they need to know on the way up; on the way down the thing is as good as gone.
    pub(crate) change: Option<Change>,
}

impl Course {
    /// Waits until all is there that the step needs, and returns what exists then.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if that does not come any more.
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

    /// Lets the steps that wait for this one begin.
    pub(crate) fn tell_ahead(&self, change: Option<Change>) {
        // Nobody hears it once the plan is dropped, and then nothing waits.
        let _nobody_hears = self.ahead.send(Ahead { index: self.index, change });
    }
}
