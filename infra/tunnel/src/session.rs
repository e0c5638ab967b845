//! The task that owns the websocket and the channel, through every lost connection.

mod drive;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use self::drive::End;
use crate::channel::{Action, Channel, ChannelOptions};
use crate::connect::{reopen, sign_and_open};
use crate::control::{Control, SessionToken};
use crate::error::Error;
use crate::event::Event;
use crate::link::{Link, Opening};
use crate::pipe::{End as StreamEnd, Pipe};
use crate::seat::Seat;
use crate::state::{Phase, SessionState};
use crate::tunnel::Options;
use crate::websocket::Connection;

/// How long closing waits for what is still to be sent.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);
const GOODBYE_LIMIT: Duration = Duration::from_secs(1);
const TERMINATE_LIMIT: Duration = Duration::from_secs(10);
/// A connection that lasted this long ends an outage; a shorter one goes on with the same backoff.
const STABLE: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const MAX_PAUSE: Duration = Duration::from_secs(5);

pub(crate) struct Session {
    token: SessionToken,
    control: Arc<dyn Control>,
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
    outage: Option<Outage>,
    counted: Counted,
}

/// A stream that the agent knows.
struct Open {
    pipe: Arc<Pipe>,
    /// Counts it for the tunnel's choice.
    _seat: Seat,
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

struct Outage {
    since: Instant,
    pause: Duration,
}

impl Session {
    /// Starts a session and carries it to its end.
    pub(crate) async fn run(control: Arc<dyn Control>, options: Options, link: Link) {
        // Not given up when the tunnel is closed meanwhile: what the service starts must also be ended.
        let token = match control.start().await {
            Ok(token) => token,
            Err(error) => {
                link.end(&Error::Control { action: "start", source: Arc::from(error) });
                return;
            }
        };
        options.events.emit(Event::Started { session_id: token.session_id.clone() });
        lock(&link.state).session_id.clone_from(&token.session_id);
        let now = Instant::now();
        let channel = ChannelOptions {
            payload_size: options.payload_size,
            window: options.window,
            quiet: options.quiet,
            keep_alive: options.keep_alive,
            answer_within: options.answer_within,
        };
        let mut session = Session {
            channel: Channel::new(channel, now.into_std()),
            counted: Counted::default(),
            token,
            control,
            options,
            link,
            streams: BTreeMap::new(),
            waiting: Vec::new(),
            idle_since: now,
            cursor: 0,
            closing: None,
            outage: None,
        };
        let error = session.live().await;
        session.finish(error).await;
    }

    /// Returns why the session is over.
    async fn live(&mut self) -> Error {
        let open = self.channel.open_frame(&self.token.token).to_payload();
        let opening =
            sign_and_open(Arc::clone(&self.control), self.token.url.clone(), open, self.options.tls.clone());
        let mut connection = match self.unless_closed(opening).await {
            Some(Ok(connection)) => connection,
            Some(Err(error)) => return error,
            None => return Error::Closed,
        };
        loop {
            let since = Instant::now();
            let lost = match self.drive(&mut connection).await {
                End::Lost(error) => error,
                End::Over(error) => {
                    drop(timeout(GOODBYE_LIMIT, connection.close()).await);
                    return error;
                }
            };
            if self.closing.is_some() {
                return Error::Closed;
            }
            if since.elapsed() >= STABLE {
                self.outage = None;
            }
            let lost_at = Instant::now();
            self.options
                .events
                .emit(Event::Lost { session_id: self.token.session_id.clone(), why: lost.clone() });
            lock(&self.link.state).phase = Phase::Resuming;
            connection = match self.resume(lost).await {
                Ok(connection) => connection,
                Err(error) => return error,
            };
            {
                let mut state = lock(&self.link.state);
                state.resumes += 1;
                state.phase = if state.agent.is_some() { Phase::Live } else { Phase::Opening };
            }
            for action in self.channel.on_reconnect(Instant::now().into_std()) {
                // A resumed channel only sends.
                if let Action::Send(frame) = action {
                    connection.queue_frame(frame);
                }
            }
            let after = lost_at.elapsed();
            self.options.events.emit(Event::Resumed { session_id: self.token.session_id.clone(), after });
        }
    }

    /// Connects again with a new token, as often as the limit allows.
    async fn resume(&mut self, lost: Error) -> Result<Connection, Error> {
        let limit = self.options.resume_limit;
        let mut last = lost;
        loop {
            let now = Instant::now();
            let outage = self.outage.get_or_insert(Outage { since: now, pause: Duration::ZERO });
            let pause = outage.pause;
            if now + pause > outage.since + limit {
                return Err(Error::Disconnected { limit, source: Arc::new(last) });
            }
            outage.pause = (pause * 2).clamp(FIRST_PAUSE, MAX_PAUSE);
            let attempt = {
                let open_frame = self.channel.open_frame(&self.token.token);
                let (control, tls) = (Arc::clone(&self.control), self.options.tls.clone());
                let session_id = self.token.session_id.clone();
                async move {
                    sleep(pause).await;
                    reopen(control, session_id, open_frame, tls).await
                }
            };
            match self.unless_closed(attempt).await {
                Some(Ok(Some(connection))) => return Ok(connection),
                Some(Ok(None)) => return Err(Error::SessionEnded { output: String::new() }),
                Some(Err(error)) => last = error,
                None => return Err(Error::Closed),
            }
        }
    }

    /// Waits for `future` while streams may still be asked for; `None` when the tunnel is closed meanwhile.
    async fn unless_closed<T>(&mut self, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        while self.closing.is_none() {
            tokio::select! {
                biased;
                output = &mut future => return Some(output),
                request = self.link.requests.recv() => self.on_request(request),
            }
        }
        None
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
        state.phase = match (state.phase, self.channel.is_stuck()) {
            (Phase::Live, true) => Phase::Stuck,
            (Phase::Stuck, false) => Phase::Live,
            (phase, _) => phase,
        };
    }

    /// Ends every stream and the session, and tells everybody who waits.
    async fn finish(mut self, error: Error) {
        self.link.requests.close();
        while let Ok(request) = self.link.requests.try_recv() {
            self.on_request(Some(request));
        }
        self.streams.values().for_each(|open| open.pipe.end(StreamEnd::Failed(error.clone())));
        self.streams.clear();
        self.tell_state();
        self.link.progress.send_modify(|progress| progress.ended = Some(error.clone()));
        // Only now: whoever asked for a stream looks why it was not opened.
        self.waiting.clear();
        self.options
            .events
            .emit(Event::Ended { session_id: self.token.session_id.clone(), why: error.clone() });
        let told = if matches!(error, Error::SessionEnded { .. }) { Ok(()) } else { self.terminate().await };
        if let Some(done) = self.closing.and_then(|closing| closing.done) {
            drop(done.send(told));
        }
    }

    async fn terminate(&self) -> Result<(), Error> {
        let failed = |source| Error::Control { action: "terminate", source };
        match timeout(TERMINATE_LIMIT, self.control.terminate(&self.token.session_id)).await {
            Ok(told) => told.map_err(|error| failed(Arc::from(error))),
            Err(elapsed) => Err(failed(Arc::new(elapsed))),
        }
    }
}

fn lock(state: &Mutex<SessionState>) -> MutexGuard<'_, SessionState> {
    // Nothing panics while it holds the lock; and if it did, the figures would still be figures.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
