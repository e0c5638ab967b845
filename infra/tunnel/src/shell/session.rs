//! The task that owns the websocket and the channel of a shell, through every lost connection.

use std::collections::VecDeque;
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::channel::{Action, Channel, KeyRequest};
use super::event::ShellEvent;
use super::options::ShellOptions;
use super::payload::TerminalSize;
use crate::PAYLOAD_SIZE;
use crate::cipher::DataKey;
use crate::connection_loop::{ConnectionLoop, ConnectionOptions};
use crate::control::{BoxFuture, Control, ControlError};
use crate::error::Error;
use crate::event::Event;
use crate::link::Progress;
use crate::message::Message;
use crate::reliable::Reliable;
use crate::traffic::{End, Traffic};
use crate::websocket::{Connection, Reading};

/// What is typed.
#[derive(Debug)]
pub(super) enum Input {
    Bytes(Bytes),
    Size(TerminalSize),
}

/// Who asked for the end and wants to know how it went.
pub(super) type Done = oneshot::Sender<Result<(), Error>>;

/// How a shell and its session reach each other.
pub(super) struct Ends {
    pub(super) input: mpsc::Receiver<Input>,
    pub(super) output: mpsc::Sender<ShellEvent>,
    pub(super) progress: watch::Sender<Progress>,
    pub(super) close: mpsc::UnboundedReceiver<Done>,
}

pub(super) struct Session {
    session_id: String,
    control: Arc<dyn Control>,
    options: ShellOptions,
    ends: Ends,
    channel: Channel,
    /// The request for a data key, until it is answered.
    key: Option<BoxFuture<'static, Result<DataKey, ControlError>>>,
    /// The answer, until the next turn.
    given_key: Option<Result<DataKey, ControlError>>,
    /// Input that was received, until the next turn.
    typed: Option<Input>,
    /// Events that nobody has taken yet.
    undelivered: VecDeque<ShellEvent>,
    closing: Option<Closing>,
}

struct Closing {
    done: Option<Done>,
}

impl Session {
    /// Starts a session and carries it to its end.
    pub(super) async fn run(control: Arc<dyn Control>, options: ShellOptions, ends: Ends) {
        let connection_loop = ConnectionOptions {
            tls: options.tls.clone(),
            resume_limit: options.resume_limit,
            events: options.events.clone(),
        };
        let mut connection_loop = match ConnectionLoop::start(Arc::clone(&control), connection_loop).await {
            Ok(connection_loop) => connection_loop,
            Err(error) => {
                ends.progress.send_modify(|progress| progress.ended = Some(error));
                return;
            }
        };
        let session_id = connection_loop.session_id().to_owned();
        let reliable = Reliable::new(PAYLOAD_SIZE, options.window, Instant::now().into_std());
        let mut session = Session {
            channel: Channel::new(reliable, session_id.clone(), options.target.clone()),
            session_id,
            control,
            options,
            ends,
            key: None,
            given_key: None,
            typed: None,
            undelivered: VecDeque::new(),
            closing: None,
        };
        let why = connection_loop.run(&mut session).await;
        session.finish(&connection_loop, why).await;
    }

    /// Says whether input may be sent: the agent throws away what comes before the shell listens.
    fn may_type(&self) -> bool {
        let is_held = self.channel.hold_until().is_some_and(|until| Instant::now().into_std() < until);
        self.channel.is_ready() && !is_held && self.channel.room() > 0
    }

    fn on_input(&mut self, input: Input, connection: &mut Connection, now: Instant) {
        let frame = match input {
            Input::Bytes(bytes) => self.channel.write(bytes, now.into_std()),
            Input::Size(size) => self.channel.resize(size, now.into_std()),
        };
        connection.queue_frame(frame);
    }

    fn apply(&mut self, actions: Vec<Action>, connection: &mut Connection) -> Option<End> {
        for action in actions {
            match action {
                Action::Send(frame) => connection.queue_frame(frame),
                Action::GetDataKey(KeyRequest { key_id, context }) => {
                    let control = Arc::clone(&self.control);
                    self.key = Some(Box::pin(async move { control.data_key(&key_id, &context).await }));
                }
                Action::Shaken { agent, customer_message } => {
                    let session_id = self.session_id.clone();
                    self.options.events.emit(Event::Ready { session_id, agent, customer_message });
                }
                Action::Output(bytes) => self.undelivered.push_back(ShellEvent::Output(bytes)),
                Action::StdErr(bytes) => self.undelivered.push_back(ShellEvent::StdErr(bytes)),
                Action::Exit(code) => self.undelivered.push_back(ShellEvent::Exit(code)),
                Action::Reconnect(silence) => return Some(End::silent(silence)),
                Action::Closed(error) => return Some(End::Over(error)),
            }
        }
        if self.channel.is_ready() {
            self.ends.progress.send_if_modified(|progress| !std::mem::replace(&mut progress.was_ready, true));
        }
        None
    }

    /// Hands out the last events, tells the service, and then everybody who waits for the end.
    async fn finish(self, connection_loop: &ConnectionLoop, why: Error) {
        let Session { mut ends, undelivered, closing, .. } = self;
        let is_wanted = closing.is_none();
        let deliver = async {
            for event in undelivered.into_iter().filter(|_| is_wanted) {
                if ends.output.send(event).await.is_err() {
                    return;
                }
            }
        };
        let ((), told) = tokio::join!(deliver, connection_loop.finish(&why));
        ends.progress.send_modify(|progress| progress.ended = Some(why));
        let asked_late = std::iter::from_fn(|| ends.close.try_recv().ok());
        for done in closing.and_then(|closing| closing.done).into_iter().chain(asked_late) {
            drop(done.send(told.clone()));
        }
    }
}

impl Traffic for Session {
    fn reliable(&mut self) -> &mut Reliable {
        self.channel.reliable()
    }

    fn handshake_limit(&self) -> Duration {
        self.options.handshake_limit
    }

    fn is_ready(&self) -> bool {
        self.channel.is_ready()
    }

    fn turn(&mut self, connection: &mut Connection, now: Instant) -> Option<End> {
        if self.closing.is_some() {
            return Some(End::Over(Error::Closed));
        }
        if let Some(key) = self.given_key.take() {
            let actions = self.channel.on_data_key(key, now.into_std());
            if let Some(end) = self.apply(actions, connection) {
                return Some(end);
            }
        }
        if let Some(input) = self.typed.take() {
            self.on_input(input, connection, now);
        }
        let actions = self.channel.on_timer(now.into_std());
        if let Some(end) = self.apply(actions, connection) {
            return Some(end);
        }
        // `wait` is not enough: while frames keep coming, it is never reached.
        while self.may_type()
            && let Ok(input) = self.ends.input.try_recv()
        {
            self.on_input(input, connection, now);
        }
        while let Some(event) = self.undelivered.pop_front() {
            if let Err(TrySendError::Full(event)) = self.ends.output.try_send(event) {
                self.undelivered.push_front(event);
                break;
            }
        }
        // For the same reason.
        self.closing =
            closed(&mut self.ends.close, &self.ends.output).now_or_never().map(|done| Closing { done });
        self.closing.is_some().then_some(End::Over(Error::Closed))
    }

    fn on_frame(&mut self, frame: Bytes, connection: &mut Connection) -> Option<End> {
        // If it was data, its sender will send it again.
        let Ok(message) = Message::parse(frame) else { return None };
        let now = Instant::now().into_std();
        let mut actions = self.channel.on_message(message, now);
        loop {
            if let Some(end) = self.apply(actions, connection) {
                return Some(end);
            }
            actions = self.channel.on_more(now)?;
        }
    }

    fn reading(&self) -> Reading {
        if self.undelivered.is_empty() { Reading::Open } else { Reading::Stopped }
    }

    fn next_timer(&self, now: Instant) -> Option<Instant> {
        let hold = self.channel.hold_until().map(Instant::from_std).filter(|until| *until > now);
        [self.channel.next_timer().map(Instant::from_std), hold].into_iter().flatten().min()
    }

    async fn wait(&mut self, reading: Reading) {
        let may_type = self.may_type();
        tokio::select! {
            biased;
            done = closed(&mut self.ends.close, &self.ends.output) => self.closing = Some(Closing { done }),
            key = asked(&mut self.key) => {
                self.key = None;
                self.given_key = Some(key);
            }
            Some(input) = self.ends.input.recv(), if may_type => self.typed = Some(input),
            () = has_room(&self.ends.output), if reading == Reading::Stopped => (),
        }
    }

    async fn unless_closed<T: Send>(&mut self, future: impl Future<Output = T> + Send) -> Option<T> {
        let future = pin!(future);
        tokio::select! {
            biased;
            output = future => Some(output),
            done = closed(&mut self.ends.close, &self.ends.output) => {
                self.closing = Some(Closing { done });
                None
            }
        }
    }

    fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    fn on_lost(&mut self) {
        self.reliable().on_disconnect(Instant::now().into_std());
    }

    fn on_resumed(&mut self) -> Vec<Bytes> {
        self.reliable().on_reconnect(Instant::now().into_std())
    }
}

/// Waits for the data key, if one was requested.
async fn asked<T>(key: &mut Option<BoxFuture<'static, T>>) -> T {
    match key {
        Some(key) => key.await,
        None => pending().await,
    }
}

/// Waits until one more event can be handed out, or nobody takes any.
async fn has_room(output: &mpsc::Sender<ShellEvent>) {
    drop(output.reserve().await);
}

/// Waits until the session is to end: somebody asks for that, or nobody takes its events any more.
async fn closed(
    close: &mut mpsc::UnboundedReceiver<Done>,
    output: &mpsc::Sender<ShellEvent>,
) -> Option<Done> {
    tokio::select! {
        done = close.recv() => done,
        () = output.closed() => None,
    }
}
