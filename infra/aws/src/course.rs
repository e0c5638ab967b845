//! How the steps of a plan run beside each other although some need what others bring.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::Error;
use crate::state::{Change, State};
use crate::step::Job;

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

impl Job<'_> {
    /// Waits for the rest of what the step needs, and returns what exists then.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if that does not come any more.
    pub(crate) async fn rest_of_needs(&self, state: &State) -> Result<Arc<State>, Error> {
        let Some(course) = &self.course else { return Ok(Arc::new(state.clone())) };
        let mut progress = course.progress.clone();
        let has_all = |progress: &Progress| course.needs.iter().all(|need| progress.done.contains(need));
        let changed = progress.wait_for(|progress| has_all(progress) || progress.is_over);
        let progress = tokio::select! {
            () = self.stop.raised() => return Err(Error::Interrupted),
            changed = changed => match changed {
                Ok(progress) => progress.clone(),
                Err(_) => return Err(Error::Interrupted),
            },
        };
        if has_all(&progress) { Ok(progress.state) } else { Err(Error::Interrupted) }
    }

    /// Lets what waits for this step begin: its deletion was accepted, and only the proof is still to come.
    pub(crate) fn clear_the_way(&self) {
        self.tell_ahead(None);
    }

    /// Lets what waits for this step begin with what it has made so far.
    pub(crate) fn announce(&self, change: Change) {
        self.tell_ahead(Some(change));
    }

    fn tell_ahead(&self, change: Option<Change>) {
        if let Some(Course { index, ahead, .. }) = &self.course {
            // Nobody hears it once the plan is dropped, and then nothing waits.
            let _nobody_hears = ahead.send(Ahead { index: *index, change });
        }
    }
}
