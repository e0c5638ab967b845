//! The task that owns the websocket and the channel, through every lost connection.

mod turn;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::channel::{Channel, ChannelOptions};
use crate::connection_loop::{ConnectionLoop, ConnectionOptions};
use crate::control::Control;
use crate::duplex::{Duplex, End as StreamEnd};
use crate::error::Error;
use crate::link::{Link, Opening};
use crate::options::Options;
use crate::slot::Slot;
use crate::state::{Phase, SessionState};

/// How long closing waits for what is still to be sent.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

pub(crate) struct Session {
    session_id: String,
    options: Options,
    link: Link,
    channel: Channel,
    streams: BTreeMap<u32, Open>,
    /// Streams asked for while there was no way to open them.
    waiting: Vec<Opening>,
    /// Since when there has been no stream.
    idle_since: Instant,
    /// The stream that sent last.
    cursor: u32,
    closing: Option<Closing>,
    counted: Counted,
}

/// A stream that the agent knows.
struct Open {
    duplex: Arc<Duplex>,
    /// Counts it for the tunnel's choice, as long as something may still be written to it: one that only waits for the
    /// other end carries next to nothing.
    slot: Option<Slot>,
}

/// What is shown of the session, kept here so that a frame costs no lock.
#[derive(Default)]
struct Counted {
    streams_opened: u64,
    bytes_sent: u64,
    bytes_received: u64,
    discarded_frames: u64,
}

struct Closing {
    deadline: Instant,
    asked: bool,
    done: Option<oneshot::Sender<Result<(), Error>>>,
}

impl Session {
    /// Starts a session and carries it to its end.
    pub(crate) async fn run(control: Arc<dyn Control>, options: Options, link: Link) {
        // Not given up when the tunnel is closed meanwhile: what the service starts must also be ended.
        let connection_loop = ConnectionOptions {
            tls: options.tls.clone(),
            resume_limit: options.resume_limit,
            events: options.events.clone(),
        };
        let mut connection_loop = match ConnectionLoop::start(control, connection_loop).await {
            Ok(connection_loop) => connection_loop,
            Err(error) => {
                link.end(&error);
                return;
            }
        };
        let session_id = connection_loop.session_id().to_owned();
        lock(&link.state).session_id.clone_from(&session_id);
        let now = Instant::now();
        let channel = ChannelOptions {
            payload_size: options.payload_size,
            window: options.window,
            quiet: options.quiet,
            keep_alive: options.keep_alive,
            answer_within: options.answer_within,
            proof_within: Some(options.proof_within),
            agent_limit: options.agent_limit,
        };
        let mut session = Session {
            channel: Channel::new(channel, now.into_std()),
            counted: Counted::default(),
            session_id,
            options,
            link,
            streams: BTreeMap::new(),
            waiting: Vec::new(),
            idle_since: now,
            cursor: 0,
            closing: None,
        };
        let error = connection_loop.run(&mut session).await;
        session.finish(&connection_loop, error).await;
    }

    /// Returns when the session has been without streams for too long.
    fn idle_end(&self) -> Option<Instant> {
        let unused = self.closing.is_none() && self.streams.is_empty() && self.waiting.is_empty();
        self.link.idle_limit.filter(|_| unused).map(|limit| self.idle_since + limit)
    }

    fn tell_state(&mut self) {
        let outgoing = self.channel.outgoing();
        let mut state = lock(&self.link.state);
        state.streams = self.streams.len();
        state.streams_opened = self.counted.streams_opened;
        state.bytes_sent = self.counted.bytes_sent;
        state.bytes_received = self.counted.bytes_received;
        state.discarded_frames = self.counted.discarded_frames;
        state.unacknowledged_bytes = outgoing.outstanding_bytes();
        state.window = self.channel.window();
        state.round_trip = outgoing.round_trip();
        let now = Instant::now().into_std();
        state.phase = match (state.phase, self.channel.is_stuck() || self.channel.is_doubtful(now)) {
            (Phase::Live, true) => Phase::Stuck,
            (Phase::Stuck, false) => Phase::Live,
            (phase, _) => phase,
        };
    }

    /// Ends every stream and the session, and tells everybody who waits.
    async fn finish(mut self, connection_loop: &ConnectionLoop, error: Error) {
        self.link.requests.close();
        while let Ok(request) = self.link.requests.try_recv() {
            self.on_request(Some(request));
        }
        self.streams.values().for_each(|open| open.duplex.end(StreamEnd::Failed(error.clone())));
        self.streams.clear();
        self.tell_state();
        self.link.progress.send_modify(|progress| progress.ended = Some(error.clone()));
        // Only now: whoever asked for a stream looks why it was not opened.
        self.waiting.clear();
        let told = connection_loop.finish(&error).await;
        if let Some(done) = self.closing.and_then(|closing| closing.done) {
            drop(done.send(told));
        }
    }
}

fn lock(state: &Mutex<SessionState>) -> MutexGuard<'_, SessionState> {
    // Nothing panics while it holds the lock; and if it did, the figures would still be figures.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
