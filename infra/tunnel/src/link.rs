//! How a session and its tunnel reach each other.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::duplex::Duplex;
use crate::error::Error;
use crate::receive_buffer::Budget;
use crate::slot::Slot;
use crate::state::SessionState;

/// What the tunnel asks of a session.
#[derive(Debug)]
pub(crate) enum Request {
    Open(Opening),
    Close(oneshot::Sender<Result<(), Error>>),
}

/// A stream that is asked for. If the session ends before it has opened it, `opened` is dropped and another session
/// may take the stream.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) duplex: Arc<Duplex>,
    pub(crate) slot: Slot,
    pub(crate) opened: oneshot::Sender<()>,
}

/// A session's end of it.
#[derive(Debug)]
pub(crate) struct Link {
    /// Wakes the session.
    pub(crate) changed: Arc<Notify>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) state: Arc<Mutex<SessionState>>,
    pub(crate) requests: mpsc::UnboundedReceiver<Request>,
    pub(crate) progress: watch::Sender<Progress>,
    /// How long the session lives without streams; `None` for as long as the service lets it.
    pub(crate) idle_limit: Option<Duration>,
}

impl Link {
    /// Ends a session that never was.
    pub(crate) fn end(mut self, error: &Error) {
        self.progress.send_modify(|progress| progress.ended = Some(error.clone()));
        self.requests.close();
        while let Ok(request) = self.requests.try_recv() {
            if let Request::Close(done) = request {
                drop(done.send(Ok(())));
            }
        }
    }
}

/// What whoever waits for a session has to know of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    /// The handshake was complete at some time.
    pub(crate) was_ready: bool,
    /// Why the session is over.
    pub(crate) ended: Option<Error>,
}
