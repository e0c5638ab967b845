//! What happens to a tunnel's sessions.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;
use crate::version::Version;

/// A change of a session. As text it is one sentence for people.
#[derive(Clone, Debug)]
pub enum Event {
    /// The service has started a session.
    Started {
        /// The session.
        session_id: String,
    },
    /// The handshake is complete.
    Ready {
        /// The session.
        session_id: String,
        /// The agent's version.
        agent: Version,
        /// A text of the account's administrator for the user; often empty.
        customer_message: String,
    },
    /// The connection was lost; it is being made again, and streams wait.
    Lost {
        /// The session.
        session_id: String,
        /// What was seen.
        why: Error,
    },
    /// An attempt to make the connection again failed for a reason that was not told before; more follow.
    ResumeFailed {
        /// The session.
        session_id: String,
        /// Why.
        why: Error,
    },
    /// The agent acknowledges nothing. Its target may have stopped reading, so the session goes on.
    Stalled {
        /// The session.
        session_id: String,
        /// For how long.
        silence: Duration,
    },
    /// The connection was made again; nothing was lost.
    Resumed {
        /// The session.
        session_id: String,
        /// How long streams had to wait.
        after: Duration,
    },
    /// The session is over, and with it its streams.
    Ended {
        /// The session.
        session_id: String,
        /// Why; [`Error::Closed`] if it was closed at this end.
        why: Error,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Started { session_id } => write!(f, "session {session_id}: started"),
            Event::Ready { session_id, agent, customer_message } => {
                write!(f, "session {session_id}: ready, agent {agent}")?;
                let message = customer_message.trim();
                if message.is_empty() { Ok(()) } else { write!(f, ": {}", message.escape_debug()) }
            }
            Event::Lost { session_id, why } => write!(f, "session {session_id}: {why}; resuming it"),
            Event::ResumeFailed { session_id, why } => {
                write!(f, "session {session_id}: {}; trying again", why.chain())
            }
            Event::Stalled { session_id, silence } => write!(
                f,
                "session {session_id}: the bastion's agent has acknowledged nothing for {} s: the target does not read \
                 what was sent, or the bastion is gone",
                silence.as_secs()
            ),
            Event::Resumed { session_id, after } => {
                write!(f, "session {session_id}: resumed after {:.1} s", after.as_secs_f64())
            }
            Event::Ended { session_id, why } => write!(f, "session {session_id}: {why}"),
        }
    }
}

/// Who is told of events.
#[derive(Clone, Default)]
pub struct Events(Option<Arc<dyn Fn(Event) + Send + Sync>>);

impl Events {
    /// Returns a listener that is called from the tunnel's own tasks: it must not block.
    pub fn new(listener: impl Fn(Event) + Send + Sync + 'static) -> Events {
        Events(Some(Arc::new(listener)))
    }

    pub(crate) fn emit(&self, event: Event) {
        if let Some(listener) = &self.0 {
            listener(event);
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Events(..)" } else { "Events(none)" })
    }
}
