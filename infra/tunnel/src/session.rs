//! The task that owns the websocket and the channel, through every lost connection.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::channel::{Action, Channel, ChannelOptions};
use crate::connect::{reopen, sign_and_open};
use crate::control::{Control, SessionToken};
use crate::error::Error;
use crate::heartbeat::{Due, Heartbeat, SILENCE};
use crate::message::Message;
use crate::pipe::{End as StreamEnd, Input, Pipe, Shared};
use crate::tunnel::{Options, State};
use crate::websocket::{Connection, Reading};

/// How much of one stream is sent before the next has its turn.
const TURN: usize = 32 << 10;
/// How long closing waits for what is still to be sent.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);
const GOODBYE_LIMIT: Duration = Duration::from_secs(1);
const TERMINATE_LIMIT: Duration = Duration::from_secs(10);
/// A connection that lasted this long ends an outage; a shorter one goes on with the same backoff.
const STABLE: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// What the tunnel's owner asks of the task.
#[derive(Debug)]
pub(crate) enum Request {
    Open(Arc<Pipe>),
    Close(oneshot::Sender<Result<(), Error>>),
}

/// How the task and the tunnel's owner reach each other.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) shared: Arc<Shared>,
    pub(crate) state: Arc<Mutex<State>>,
    pub(crate) requests: mpsc::UnboundedReceiver<Request>,
    pub(crate) ready: Option<oneshot::Sender<Result<(), Error>>>,
    pub(crate) ended: watch::Sender<Option<Error>>,
}

pub(crate) struct Session {
    token: SessionToken,
    control: Arc<dyn Control>,
    options: Options,
    link: Link,
    channel: Channel,
    pipes: BTreeMap<u32, Arc<Pipe>>,
    /// Streams asked for while there was no way to open them.
    waiting: Vec<Arc<Pipe>>,
    /// The stream that sent last.
    cursor: u32,
    closing: Option<Closing>,
    outage: Option<Outage>,
    counted: State,
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

/// Why one connection is over.
enum End {
    /// It broke; the session may live on.
    Lost(Error),
    /// The session is over, or shall be.
    Over(Error),
}

impl Session {
    pub(crate) fn new(
        token: SessionToken,
        control: Arc<dyn Control>,
        options: Options,
        link: Link,
    ) -> Session {
        let channel = ChannelOptions {
            payload_size: options.payload_size,
            window: options.window,
            quiet: options.quiet,
            keep_alive: options.keep_alive,
        };
        Session {
            channel: Channel::new(channel, Instant::now().into_std()),
            counted: State { session_id: token.session_id.clone(), ..State::default() },
            token,
            control,
            options,
            link,
            pipes: BTreeMap::new(),
            waiting: Vec::new(),
            cursor: 0,
            closing: None,
            outage: None,
        }
    }

    pub(crate) async fn run(mut self) {
        let error = self.live().await;
        self.finish(error).await;
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
            connection = match self.resume(lost).await {
                Ok(connection) => connection,
                Err(error) => return error,
            };
            self.counted.resumes += 1;
            for action in self.channel.on_reconnect(Instant::now().into_std()) {
                // A resumed channel only sends.
                if let Action::Send(frame) = action {
                    connection.queue_frame(frame);
                }
            }
        }
    }

    /// Carries the session over one connection until that is over.
    async fn drive(&mut self, connection: &mut Connection) -> End {
        let mut heartbeat = Heartbeat::new(Instant::now().into_std());
        loop {
            let now = Instant::now();
            if let Some(end) = self.turn(connection, now) {
                return end;
            }
            let reading = if self.link.shared.is_full() { Reading::Stopped } else { Reading::Open };
            if reading == Reading::Stopped {
                // It is we who do not listen.
                heartbeat.on_heard(now.into_std());
            }
            match heartbeat.due(now.into_std()) {
                Due::Nothing => (),
                Due::Ping => connection.queue_ping(),
                Due::GiveUp => {
                    let why = format!("nothing came for {} seconds", SILENCE.as_secs());
                    return End::Lost(Error::Lost { why });
                }
            }
            let timers = [
                self.channel.next_timer().map(Instant::from_std),
                self.closing.as_ref().map(|closing| closing.deadline),
            ];
            let wake_at =
                timers.into_iter().flatten().fold(Instant::from_std(heartbeat.next()), Instant::min);
            tokio::select! {
                biased;
                received = connection.next(reading) => {
                    let frames = match received {
                        Ok(frames) => frames,
                        Err(error) => return End::Lost(error),
                    };
                    heartbeat.on_heard(Instant::now().into_std());
                    for frame in frames {
                        if let Some(end) = self.on_frame(frame, connection) {
                            return end;
                        }
                    }
                }
                request = self.link.requests.recv(), if self.closing.is_none() => self.on_request(request),
                () = self.link.shared.changed.notified() => (),
                () = sleep_until(wake_at) => (),
            }
        }
    }

    /// Does everything that can be done without waiting.
    fn turn(&mut self, connection: &mut Connection, now: Instant) -> Option<End> {
        // Not left to the select alone: while frames keep coming, nothing else would have its turn there.
        while self.closing.is_none()
            && let Ok(request) = self.link.requests.try_recv()
        {
            self.on_request(Some(request));
        }
        if self.counted.agent.is_some() {
            for pipe in std::mem::take(&mut self.waiting) {
                let (stream, actions) = self.channel.open_stream(now.into_std());
                self.pipes.insert(stream, pipe);
                self.counted.streams_opened += 1;
                self.apply(actions, connection);
            }
            self.pump(connection, now);
        }
        if self.channel.next_timer().is_some_and(|at| at <= now.into_std()) {
            let actions = self.channel.on_timer(now.into_std());
            if let Some(end) = self.apply(actions, connection) {
                return Some(end);
            }
        }
        self.tell_state();
        self.close_step(connection, now)
    }

    fn on_frame(&mut self, frame: Bytes, connection: &mut Connection) -> Option<End> {
        let Ok(message) = Message::parse(frame) else {
            // If it was data, its sender will send it again.
            self.counted.discarded_frames += 1;
            return None;
        };
        let actions = self.channel.on_message(message, Instant::now().into_std());
        self.apply(actions, connection)
    }

    fn on_request(&mut self, request: Option<Request>) {
        let done = match request {
            Some(Request::Open(pipe)) => {
                self.waiting.push(pipe);
                return;
            }
            Some(Request::Close(done)) => Some(done),
            None => None,
        };
        self.closing = Some(Closing { deadline: Instant::now() + CLOSE_LIMIT, asked: false, done });
    }

    /// Sends what streams have to send, in turns, as far as the window allows.
    fn pump(&mut self, connection: &mut Connection, now: Instant) {
        let mut moved = true;
        while moved {
            moved = false;
            let after = self.pipes.range(self.cursor.saturating_add(1)..);
            let turns: Vec<u32> = after.chain(self.pipes.range(..=self.cursor)).map(|(id, _)| *id).collect();
            for stream in turns {
                let (bytes, input) = self.pipes[&stream].take(self.channel.room().min(TURN));
                if !bytes.is_empty() {
                    moved = true;
                    self.cursor = stream;
                    self.counted.bytes_sent += bytes.len() as u64;
                    let actions = self.channel.write(stream, bytes, now.into_std());
                    self.apply(actions, connection);
                }
                match input {
                    Input::Open => (),
                    Input::Finished => self.channel.finish_stream(stream, now.into_std()),
                    Input::Dropped => {
                        self.pipes.remove(&stream);
                        let actions = self.channel.close_stream(stream, now.into_std());
                        self.apply(actions, connection);
                    }
                }
            }
        }
    }

    fn apply(&mut self, actions: Vec<Action>, connection: &mut Connection) -> Option<End> {
        for action in actions {
            match action {
                Action::Send(frame) => connection.queue_frame(frame),
                Action::Ready { agent, customer_message } => {
                    self.counted.agent = Some(agent);
                    self.counted.customer_message = customer_message;
                    self.tell_state();
                    if let Some(ready) = self.link.ready.take() {
                        // Whoever opened the tunnel may have gone; the closed requests tell that too.
                        drop(ready.send(Ok(())));
                    }
                }
                Action::Deliver { stream, payload } => {
                    self.counted.bytes_received += payload.len() as u64;
                    if let Some(pipe) = self.pipes.get(&stream) {
                        pipe.deliver(payload);
                    }
                }
                Action::StreamClosed { stream } => self.end_stream(stream, StreamEnd::Eof),
                Action::ConnectFailed { stream } => {
                    let error = Error::ConnectFailed { target: self.options.target.clone() };
                    self.end_stream(stream, StreamEnd::Failed(error));
                }
                Action::Closed(error) => return Some(End::Over(error)),
            }
        }
        None
    }

    fn end_stream(&mut self, stream: u32, end: StreamEnd) {
        if let Some(pipe) = self.pipes.remove(&stream) {
            pipe.end(end);
        }
    }

    /// Goes on with closing, if that was asked for.
    fn close_step(&mut self, connection: &mut Connection, now: Instant) -> Option<End> {
        let closing = self.closing.as_mut()?;
        let late = now >= closing.deadline;
        if !closing.asked && (late || self.pipes.values().all(|pipe| pipe.is_drained())) {
            closing.asked = true;
            let actions = self.channel.terminate(now.into_std());
            self.apply(actions, connection);
        }
        let asked = self.closing.as_ref().is_some_and(|closing| closing.asked);
        let heard = self.counted.agent.is_none() || self.channel.outgoing().outstanding() == 0;
        (late || asked && heard).then_some(End::Over(Error::Closed))
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

    fn tell_state(&mut self) {
        self.counted.streams = self.pipes.len();
        self.counted.unread_bytes = self.link.shared.unread();
        self.counted.unacknowledged_bytes = self.channel.outgoing().outstanding_bytes();
        self.counted.round_trip = self.channel.outgoing().round_trip();
        let mut state = self.link.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.clone_from(&self.counted);
    }

    /// Ends every stream and the session, and tells everybody who waits.
    async fn finish(mut self, error: Error) {
        self.link.requests.close();
        while let Ok(request) = self.link.requests.try_recv() {
            self.on_request(Some(request));
        }
        self.pipes.values().chain(&self.waiting).for_each(|pipe| pipe.end(StreamEnd::Failed(error.clone())));
        self.link.ended.send_replace(Some(error.clone()));
        let told = if matches!(error, Error::SessionEnded { .. }) { Ok(()) } else { self.terminate().await };
        if let Some(ready) = self.link.ready.take() {
            drop(ready.send(Err(error)));
        }
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
