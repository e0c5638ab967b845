use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ClientConfig;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::PAYLOAD_SIZE;
use crate::control::{Control, SessionToken};
use crate::error::Error;
use crate::pipe::{Pipe, Shared};
use crate::session::{Link, Request, Session};
use crate::stream::Stream;
use crate::version::Version;

/// How a tunnel behaves.
#[derive(Clone)]
pub struct Options {
    /// `HOST:PORT` of the target, for messages.
    pub target: String,
    /// The bytes in one message.
    pub payload_size: usize,
    /// The most bytes that may be unacknowledged before writers wait.
    pub window: usize,
    /// The most bytes that may wait for readers before the websocket is no longer read.
    pub read_buffer: usize,
    /// How long a stream whose input has ended waits for more output.
    pub quiet: Duration,
    /// How often to keep an open but silent stream from the service's idle timeout; `None` for never.
    pub keep_alive: Option<Duration>,
    /// How long opening may take, from the connection to the end of the handshake.
    pub handshake_limit: Duration,
    /// How long a lost connection is tried to be made again.
    pub resume_limit: Duration,
    /// Whom to trust; `None` for what the system trusts.
    pub tls: Option<Arc<ClientConfig>>,
}

impl Options {
    /// Returns the defaults for a target.
    pub fn new(target: impl Into<String>) -> Options {
        Options {
            target: target.into(),
            payload_size: PAYLOAD_SIZE,
            window: 1 << 20,
            read_buffer: 64 << 20,
            quiet: Duration::from_secs(5),
            keep_alive: None,
            handshake_limit: Duration::from_secs(30),
            resume_limit: Duration::from_secs(120),
            tls: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("target", &self.target).finish_non_exhaustive()
    }
}

/// What a tunnel is and has done so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The session.
    pub session_id: String,
    /// The agent's version, once it is known.
    pub agent: Option<Version>,
    /// A text of the account's administrator for the user; often empty.
    pub customer_message: String,
    /// Bytes of all streams to the target.
    pub bytes_sent: u64,
    /// Bytes of all streams from the target.
    pub bytes_received: u64,
    /// Bytes that are not acknowledged yet.
    pub unacknowledged_bytes: usize,
    /// Bytes that came and that nobody has read yet.
    pub unread_bytes: usize,
    /// Streams that are open now.
    pub streams: usize,
    /// Streams opened so far.
    pub streams_opened: u64,
    /// Frames that came and were no messages.
    pub discarded_frames: u64,
    /// How many times a lost connection was made again.
    pub resumes: u64,
    /// The smoothed time between a message and its acknowledgement.
    pub round_trip: Duration,
}

/// A session with a bastion that carries any number of connections to one target.
///
/// It may be used from several tasks. Dropping it ends the session and its streams in the background;
/// [`Tunnel::close`] does so and waits.
#[derive(Debug)]
pub struct Tunnel {
    shared: Arc<Shared>,
    state: Arc<Mutex<State>>,
    requests: mpsc::UnboundedSender<Request>,
    ended: watch::Receiver<Option<Error>>,
    task: JoinHandle<()>,
}

impl Tunnel {
    /// Opens the data channel of a session that was just started; returns after the handshake.
    ///
    /// # Errors
    /// When the connection is refused, the agent is too old or asks for what a port session does not have, or
    /// the time is over. The session is terminated then.
    pub async fn open(
        token: SessionToken,
        control: Arc<dyn Control>,
        options: Options,
    ) -> Result<Tunnel, Error> {
        let limit = options.handshake_limit;
        let shared = Arc::new(Shared::new(options.read_buffer));
        let state = Arc::new(Mutex::new(State { session_id: token.session_id.clone(), ..State::default() }));
        let (requests, receiver) = mpsc::unbounded_channel();
        let (ready, is_ready) = oneshot::channel();
        let (end, ended) = watch::channel(None);
        let link = Link {
            shared: Arc::clone(&shared),
            state: Arc::clone(&state),
            requests: receiver,
            ready: Some(ready),
            ended: end,
        };
        let session = Session::new(token, control, options, link);
        let task = tokio::spawn(session.run());
        match timeout(limit, is_ready).await {
            Ok(Ok(Ok(()))) => Ok(Tunnel { shared, state, requests, ended, task }),
            Ok(Ok(Err(error))) => Err(error),
            Ok(Err(_)) => Err(Error::Closed),
            Err(_) => {
                // The task terminates the session when nobody can ask it for anything more.
                drop(requests);
                drop(task.await);
                Err(Error::HandshakeTimedOut { limit })
            }
        }
    }

    /// Opens a connection to the target.
    ///
    /// # Errors
    /// With the reason why the tunnel has ended, if it has.
    pub async fn connect(&self) -> Result<Stream, Error> {
        let pipe = Arc::new(Pipe::new(Arc::clone(&self.shared)));
        let stream = Stream::new(Arc::clone(&pipe));
        if self.requests.send(Request::Open(pipe)).is_err() {
            return Err(self.ended.borrow().clone().unwrap_or(Error::Closed));
        }
        Ok(stream)
    }

    /// Waits until the tunnel has ended by itself and returns why.
    pub async fn ended(&self) -> Error {
        let mut ended = self.ended.clone();
        let end = match ended.wait_for(Option::is_some).await {
            Ok(end) => end.clone(),
            Err(_) => None,
        };
        end.unwrap_or(Error::Closed)
    }

    /// Returns what the tunnel is and has done so far.
    pub fn state(&self) -> State {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends what streams have left to send, ends the session, and returns once that is done.
    ///
    /// # Errors
    /// When the service could not be told; the session lives on until its idle timeout then.
    pub async fn close(self) -> Result<(), Error> {
        let (done, is_done) = oneshot::channel();
        if self.requests.send(Request::Close(done)).is_err() {
            // The tunnel has ended by itself; its task may still be telling the service.
            drop(self.task.await);
            return Ok(());
        }
        let closed = is_done.await.unwrap_or(Ok(()));
        drop(self.task.await);
        closed
    }
}
