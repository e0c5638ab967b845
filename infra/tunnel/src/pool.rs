//! The sessions of a tunnel, and which of them a stream goes to.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

use crate::control::Control;
use crate::duplex::Duplex;
use crate::error::Error;
use crate::link::{Link, Progress, Request};
use crate::options::Options;
use crate::receive_buffer::Budget;
use crate::session::Session;
use crate::slot::{Slot, Slots};
use crate::state::{Phase, SessionState, State};

/// Starts sessions and knows those that have not ended.
pub(crate) struct Pool {
    control: Arc<dyn Control>,
    options: Options,
    budget: Arc<Budget>,
    sessions: Mutex<Sessions>,
}

#[derive(Debug, Default)]
struct Sessions {
    open: Vec<PooledSession>,
    /// The totals of sessions that have ended.
    past: State,
    closed: bool,
}

#[derive(Debug)]
struct PooledSession {
    handle: SessionHandle,
    slots: Slots,
    state: Arc<Mutex<SessionState>>,
    task: JoinHandle<()>,
}

/// How to reach a session.
#[derive(Clone, Debug)]
pub(crate) struct SessionHandle {
    pub(crate) requests: mpsc::UnboundedSender<Request>,
    progress: watch::Receiver<Progress>,
    changed: Arc<Notify>,
}

impl SessionHandle {
    /// Waits until the session has come that far; one whose task is gone has ended.
    pub(crate) async fn until(mut self, reached: impl FnMut(&Progress) -> bool) -> Progress {
        match self.progress.wait_for(reached).await {
            Ok(progress) => progress.clone(),
            Err(_) => Progress { was_ready: false, ended: Some(Error::Closed) },
        }
    }
}

/// Which sessions may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// The one with the fewest streams, or a new one if all are in use.
    Best,
    /// One that carries streams now, if there is any.
    Live,
}

/// A session for a stream.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) session: SessionHandle,
    pub(crate) slot: Slot,
    pub(crate) duplex: Arc<Duplex>,
    /// Another session carries streams already, and this one does not yet.
    pub(crate) alternative: bool,
}

impl Pool {
    pub(crate) fn new(control: Arc<dyn Control>, options: Options) -> Pool {
        let budget = Arc::new(Budget::new(options.read_buffer, options.spill_file));
        Pool { control, options, budget, sessions: Mutex::default() }
    }

    /// Starts the first session.
    pub(crate) fn start(&self) -> SessionHandle {
        let mut sessions = self.lock();
        self.start_in(&mut sessions);
        sessions.open[0].handle.clone()
    }

    /// Returns a session for a stream; `None` once the tunnel is closed.
    pub(crate) fn choose(&self, choice: Choice) -> Option<Chosen> {
        let mut sessions = self.lock();
        if sessions.closed {
            return None;
        }
        sessions.sweep();
        let live = sessions.least_loaded(|phase| phase == Phase::Live);
        let index = match (choice, live) {
            (Choice::Live, Some(live)) => live,
            (Choice::Live | Choice::Best, _) => {
                let best = sessions.least_loaded(|phase| !matches!(phase, Phase::Resuming | Phase::Stuck));
                let is_free = best.is_some_and(|best| sessions.open[best].slots.taken() == 0);
                if !is_free && sessions.open.len() < self.options.sessions.get() {
                    self.start_in(&mut sessions);
                    sessions.open.len() - 1
                } else {
                    // All sessions that there may be are in use, or are being resumed, or wait for the target.
                    best.or_else(|| sessions.least_loaded(|_| true)).unwrap_or(0)
                }
            }
        };
        let chosen = &sessions.open[index];
        Some(Chosen {
            session: chosen.handle.clone(),
            slot: chosen.slots.take(),
            duplex: Arc::new(Duplex::new(Arc::clone(&chosen.handle.changed), Arc::clone(&self.budget))),
            alternative: live.is_some_and(|live| live != index) && chosen.phase() != Phase::Live,
        })
    }

    /// Says whether any session carries streams now.
    pub(crate) fn has_live(&self) -> bool {
        self.lock().least_loaded(|phase| phase == Phase::Live).is_some()
    }

    pub(crate) fn state(&self) -> State {
        let mut sessions = self.lock();
        sessions.sweep();
        let mut state = sessions.past.clone();
        state.sessions = sessions.open.iter().map(|session| lock(&session.state).clone()).collect();
        for session in state.sessions.clone() {
            state.count(&session);
        }
        state.unread_bytes = self.budget.memory();
        state.spilled_bytes = self.budget.spilled();
        state
    }

    /// Starts no more sessions, and returns those there are, to be closed.
    pub(crate) fn drain(&self) -> Vec<(SessionHandle, JoinHandle<()>)> {
        let mut sessions = self.lock();
        sessions.closed = true;
        std::mem::take(&mut sessions.open).into_iter().map(|session| (session.handle, session.task)).collect()
    }

    fn start_in(&self, sessions: &mut Sessions) {
        let (requests, receiver) = mpsc::unbounded_channel();
        let (sender, progress) = watch::channel(Progress::default());
        let changed = Arc::new(Notify::new());
        let state = Arc::new(Mutex::new(SessionState::default()));
        let link = Link {
            changed: Arc::clone(&changed),
            budget: Arc::clone(&self.budget),
            state: Arc::clone(&state),
            requests: receiver,
            progress: sender,
            // The first stays, so that the next connection finds it open.
            idle_limit: (!sessions.open.is_empty()).then_some(self.options.idle_limit),
        };
        sessions.past.sessions_opened += 1;
        sessions.open.push(PooledSession {
            handle: SessionHandle { requests, progress, changed },
            slots: Slots::default(),
            state,
            task: tokio::spawn(Session::run(Arc::clone(&self.control), self.options.clone(), link)),
        });
    }

    fn lock(&self) -> MutexGuard<'_, Sessions> {
        lock(&self.sessions)
    }
}

impl Sessions {
    /// Removes sessions that have ended, and keeps their totals.
    fn sweep(&mut self) {
        let past = &mut self.past;
        self.open.retain(|session| {
            let has_ended = session.handle.progress.borrow().ended.is_some();
            if has_ended {
                past.count(&lock(&session.state));
            }
            !has_ended
        });
    }

    fn least_loaded(&self, fits: impl Fn(Phase) -> bool) -> Option<usize> {
        let fitting = self.open.iter().enumerate().filter(|(_, session)| fits(session.phase()));
        fitting.min_by_key(|(_, session)| session.slots.taken()).map(|(index, _)| index)
    }
}

impl PooledSession {
    fn phase(&self) -> Phase {
        lock(&self.state).phase
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("options", &self.options).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds one of these; and if it did, the figures would still be figures.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
