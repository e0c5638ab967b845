//! How a tunnel behaves.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use crate::PAYLOAD_SIZE;
use crate::event::Events;
use crate::liveness::AGENT_LIMIT;

/// How a tunnel behaves.
#[derive(Clone)]
pub struct Options {
    /// `HOST:PORT` of the target, for messages.
    pub target: String,
    /// The most sessions at a time. An agent sends less than 1 MB/s in a session, whatever the line carries.
    pub sessions: NonZeroUsize,
    /// The bytes in one message, at least 1 and at most [`Options::MAX_PAYLOAD_SIZE`].
    pub payload_size: usize,
    /// The most bytes of a session that may be unacknowledged before writers wait. How many it is adapts to the
    /// round trip.
    pub window: usize,
    /// The most unread bytes kept in memory, over all streams. A stream keeps 1 MiB there; what comes then waits in
    /// temporary files without a name. One batch of frames (2 MiB at most) can come on top.
    pub read_buffer: usize,
    /// The most unread bytes kept in temporary files, over all streams. Beyond it the websockets are not read any
    /// more.
    pub spill_file: usize,
    /// How long a stream whose input has ended waits for more output.
    pub quiet: Duration,
    /// How often to keep an open but silent stream from the service's idle timeout; `None` for never.
    pub keep_alive: Option<Duration>,
    /// How long a stream that was written to waits for the target's first byte, for targets that always answer, as
    /// PostgreSQL does. `None` for those that may stay silent: a stream without a word for 15 seconds is given up if the
    /// agent does not open another one within 15 more, because it waits for the target then.
    pub answer_within: Option<Duration>,
    /// How long a session may take to prove that it carries streams, once its handshake is complete. The proof opens a
    /// connection to the target and closes it at once.
    pub proof_within: Duration,
    /// How long the agent may acknowledge nothing, though it owes that, before its session is given up.
    pub agent_limit: Duration,
    /// How long a session may take from its connection to the end of the handshake.
    pub handshake_limit: Duration,
    /// How long a lost connection is tried to be made again.
    pub resume_limit: Duration,
    /// How long a session lives without streams, unless it is the tunnel's first.
    pub idle_limit: Duration,
    /// Whom to trust; `None` for what the system trusts.
    pub tls: Option<Arc<ClientConfig>>,
    /// Who is told what happens.
    pub events: Events,
}

impl Options {
    /// The largest message that anybody has seen an agent take.
    pub const MAX_PAYLOAD_SIZE: usize = 32 << 10;

    /// Returns the defaults for a target.
    pub fn new(target: impl Into<String>) -> Options {
        Options {
            target: target.into(),
            sessions: NonZeroUsize::new(4).expect("invariant: four is not zero"),
            payload_size: PAYLOAD_SIZE,
            window: 1 << 20,
            read_buffer: 8 << 20,
            spill_file: 1 << 30,
            quiet: Duration::from_secs(5),
            keep_alive: None,
            answer_within: None,
            proof_within: Duration::from_secs(15),
            agent_limit: AGENT_LIMIT,
            handshake_limit: Duration::from_secs(30),
            resume_limit: Duration::from_secs(300),
            idle_limit: Duration::from_secs(60),
            tls: None,
            events: Events::default(),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("target", &self.target).finish_non_exhaustive()
    }
}
