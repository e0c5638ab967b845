//! How the steps of a plan run beside each other although some need what others bring.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::core::state::{Change, State};
use crate::{Error, Stop};

/// How far a plan is.
#[derive(Clone)]
pub(crate) struct Progress {
    pub(crate) done: BTreeSet<usize>,
    pub(crate) state: Arc<State>,
    /// A step has failed, and no other begins.
    pub(crate) is_over: bool,
}

/// A step's place in its plan.
pub(crate) struct Course {
    pub(crate) index: usize,
    /// The steps that bring what this one needs before its end.
    pub(crate) needs: Vec<usize>,
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
        let has_all = |progress: &Progress| self.needs.iter().all(|need| progress.done.contains(need));
        let changed = progress.wait_for(|progress| has_all(progress) || progress.is_over);
        let progress = tokio::select! {
            () = stop.raised() => return Err(Error::Interrupted),
            changed = changed => changed.map_err(|_| Error::Interrupted)?.clone(),
        };
        if has_all(&progress) { Ok(progress.state) } else { Err(Error::Interrupted) }
    }

    /// Lets the steps that wait for this one begin.
    pub(crate) fn tell_ahead(&self, change: Option<Change>) {
        // Nobody hears it once the plan is dropped, and then nothing waits.
        let _nobody_hears = self.ahead.send(Ahead { index: self.index, change });
    }
}
