//! A tunnel: as many sessions as its streams need.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use rustls::ClientConfig;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::PAYLOAD_SIZE;
use crate::control::Control;
use crate::error::Error;
use crate::event::Events;
use crate::link::{Opening, Progress, Request};
use crate::liveness::AGENT_LIMIT;
use crate::pool::{Choice, Chosen, Pool};
use crate::state::State;
use crate::stream::Stream;

/// How long a stream waits for a session of its own before it shares one.
const PATIENCE: Duration = Duration::from_secs(3);

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
    pub spool: usize,
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
            spool: 1 << 30,
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

/// Carries any number of connections to one target, over up to [`Options::sessions`] sessions with a bastion.
///
/// Every stream goes to the session with the fewest; a session is started when all that are there are in use. One
/// that ends takes its own streams with it and no others, and the next connection starts a new one.
///
/// It may be used from several tasks. Dropping it ends the sessions and their streams in the background;
/// [`Tunnel::close`] does so and waits.
#[derive(Debug)]
pub struct Tunnel {
    pool: Pool,
}

impl Tunnel {
    /// Starts the first session; returns once it has proved that it carries streams.
    ///
    /// # Errors
    /// When no session can be started or connected to, the agent is too old or asks for what a port session does not
    /// have, or the time is over. The session is terminated then.
    pub async fn open(control: Arc<dyn Control>, mut options: Options) -> Result<Tunnel, Error> {
        options.payload_size = options.payload_size.clamp(1, Options::MAX_PAYLOAD_SIZE);
        let pool = Pool::new(control, options);
        let first = pool.start();
        let begun = first.until(|progress| progress.was_ready || progress.ended.is_some()).await;
        match begun.ended {
            None => Ok(Tunnel { pool }),
            Some(error) => {
                // It is telling the service; whoever hears of the error may rely on that.
                join_all(pool.drain().into_iter().map(|(_, task)| task)).await;
                Err(error)
            }
        }
    }

    /// Opens a connection to the target. The bastion connects afterwards: if it cannot, the stream fails.
    ///
    /// While a connection to the service is being made again this waits.
    ///
    /// # Errors
    /// When there is no session and none can be started, with the reason; or the tunnel is closed.
    pub async fn connect(&self) -> Result<Stream, Error> {
        let mut choice = Choice::Best;
        loop {
            let Some(Chosen { session, seat, pipe, alternative }) = self.pool.choose(choice) else {
                return Err(Error::Closed);
            };
            let (opened, is_opened) = oneshot::channel();
            // A session that has ended drops what it is sent, and `opened` tells.
            drop(session.requests.send(Request::Open(Opening { pipe: Arc::clone(&pipe), seat, opened })));
            let patience = if alternative { PATIENCE } else { Duration::MAX };
            match timeout(patience, is_opened).await {
                Ok(Ok(())) => return Ok(Stream::new(pipe)),
                Err(_elapsed) => choice = Choice::Live,
                Ok(Err(_dropped)) => {
                    let Progress { was_ready, ended } =
                        session.until(|progress| progress.ended.is_some()).await;
                    // A session that never came to life would not the next time either.
                    if !was_ready {
                        if !self.pool.has_live() {
                            return Err(ended.unwrap_or(Error::Closed));
                        }
                        choice = Choice::Live;
                    }
                }
            }
        }
    }

    /// Returns what the tunnel is and has done so far.
    pub fn state(&self) -> State {
        self.pool.state()
    }

    /// Sends what streams have left to send, ends the sessions and all streams, and returns once that is done.
    ///
    /// # Errors
    /// When the service could not be told; a session lives on until its idle timeout then.
    pub async fn close(&self) -> Result<(), Error> {
        let closed = join_all(self.pool.drain().into_iter().map(|(session, task)| async move {
            let (done, is_done) = oneshot::channel();
            let asked = session.requests.send(Request::Close(done));
            // One that has ended by itself may still be telling the service.
            let closed = if asked.is_ok() { is_done.await.unwrap_or(Ok(())) } else { Ok(()) };
            drop(task.await);
            closed
        }))
        .await;
        closed.into_iter().collect()
    }
}
