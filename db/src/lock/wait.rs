//! Reports who holds a lock while we wait for it.

use std::time::Duration;

use stack::{Event, Events};
use tokio::time::Instant;

use super::holder::Holder;
use super::key::Lock;

/// How often a wait is reported again while the same session holds the lock: the seconds that are left count down.
const TELL_AGAIN: Duration = Duration::from_secs(5);
/// A longer wait is also reported as a note, for output that shows no steps.
const NOTE_AFTER: Duration = Duration::from_secs(2);

/// Reports who holds the lock, and when the holder's session would end.
pub(crate) struct Wait<'a> {
    lock: Lock,
    subject: String,
    events: &'a Events,
    began: Instant,
    told: Option<(Holder, Instant)>,
    noted: bool,
}

impl<'a> Wait<'a> {
    pub(crate) fn new(lock: Lock, subject: String, events: &'a Events) -> Wait<'a> {
        Wait { lock, subject, events, began: Instant::now(), told: None, noted: false }
    }

    /// Reports the holder that was just seen, unless it was reported a moment ago.
    pub(crate) fn tell(&mut self, holder: Option<Holder>) {
        let Some(holder) = holder else { return };
        let is_known = self.told.as_ref().is_some_and(|(told, _)| holder.is_same(told));
        let is_fresh = is_known && self.told.as_ref().is_some_and(|(_, at)| at.elapsed() < TELL_AGAIN);
        self.noted &= is_known;
        let is_due = !self.noted && self.began.elapsed() >= NOTE_AFTER;
        if is_fresh && !is_due {
            return;
        }
        let status = format!("the lock for {} is held by {holder}{}", self.lock.name, holder.end());
        if is_due {
            self.noted = true;
            self.events.note(format!("{}: {status}", self.subject));
        }
        self.events.emit(Event::StepWaiting { subject: self.subject.clone(), status });
        self.told = Some((holder, Instant::now()));
    }
}
