//! A session with a terminal, or with a single command.

mod channel;
mod payload;
mod session;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls::ClientConfig;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

pub use self::payload::{
    EncryptionChallenge, KmsRequest, KmsResponse, TerminalSize, parse_exit_code, render_exit_code,
};
use self::session::{Ends, Input, Session};
use crate::PAYLOAD_SIZE;
use crate::control::Control;
use crate::error::Error;
use crate::event::Events;
use crate::link::Progress;

/// What may wait for its turn, in messages: typed bytes on one side, output on the other.
const QUEUE: usize = 64;

/// How a shell behaves.
#[derive(Clone)]
pub struct ShellOptions {
    /// The instance, as the encryption context of a data key names it.
    pub target: String,
    /// The most bytes that may be unacknowledged before writers wait.
    pub window: usize,
    /// How long the session may take from its connection to the first sign of the shell.
    pub handshake_limit: Duration,
    /// How long a lost connection is tried to be made again.
    pub resume_limit: Duration,
    /// Whom to trust; `None` for what the system trusts.
    pub tls: Option<Arc<ClientConfig>>,
    /// Who is told what happens.
    pub events: Events,
}

impl ShellOptions {
    /// Returns the defaults for an instance.
    pub fn new(target: impl Into<String>) -> ShellOptions {
        ShellOptions {
            target: target.into(),
            window: 1 << 20,
            handshake_limit: Duration::from_secs(30),
            resume_limit: Duration::from_secs(300),
            tls: None,
            events: Events::default(),
        }
    }
}

impl fmt::Debug for ShellOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShellOptions").field("target", &self.target).finish_non_exhaustive()
    }
}

/// What comes from a shell.
#[derive(Clone, Debug)]
pub enum ShellEvent {
    /// Bytes for the terminal, or of the command's standard output.
    Output(Bytes),
    /// Bytes of the command's standard error; a terminal has none.
    StdErr(Bytes),
    /// The command's exit code; -1 if a signal ended it. A terminal has none.
    Exit(i32),
    /// Nothing more will come. [`Error::SessionEnded`] without words is the usual end.
    Ended(Error),
}

/// An open session with a shell.
///
/// It survives lost connections as a tunnel does: nothing that was typed or printed is lost. While its events are not
/// taken, what comes waits at the other end, and for at most some hundred kilobytes here.
///
/// Dropping it ends the session in the background; [`Shell::close`] does so and waits.
#[derive(Debug)]
pub struct Shell {
    input: ShellInput,
    events: mpsc::Receiver<ShellEvent>,
    progress: watch::Receiver<Progress>,
    close: oneshot::Sender<oneshot::Sender<Result<(), Error>>>,
    task: JoinHandle<()>,
}

impl Shell {
    /// Starts a session and returns once the shell listens: after the handshake, or with the prompt if there is none.
    ///
    /// # Errors
    /// When no session can be started or connected to, the agent asks for what a shell does not have, there is no data
    /// key for its encryption, or the time is over. The session is terminated then.
    pub async fn open(control: Arc<dyn Control>, options: ShellOptions) -> Result<Shell, Error> {
        let (typed, input) = mpsc::channel(QUEUE);
        let (output, events) = mpsc::channel(QUEUE);
        let (told, mut progress) = watch::channel(Progress::default());
        let (close, closing) = oneshot::channel();
        let ends = Ends { input, output, progress: told, close: closing };
        let task = tokio::spawn(Session::run(control, options, ends));
        let begun = progress.wait_for(|progress| progress.was_ready || progress.ended.is_some()).await;
        let failed = match begun.as_deref() {
            Ok(Progress { was_ready: true, .. }) => None,
            Ok(Progress { ended, .. }) => Some(ended.clone().unwrap_or(Error::Closed)),
            Err(_) => Some(Error::Closed),
        };
        drop(begun);
        match failed {
            None => Ok(Shell { input: ShellInput(typed), events, progress, close, task }),
            Some(error) => {
                // It is telling the service; whoever hears of the error may rely on that.
                drop(events);
                drop(task.await);
                Err(error)
            }
        }
    }

    /// Returns the way to type. It may be cloned and used from another task.
    pub fn input(&self) -> ShellInput {
        self.input.clone()
    }

    /// Returns what comes next. After the end it says [`ShellEvent::Ended`] again and again.
    ///
    /// It may be dropped and called again at any time; nothing is lost.
    pub async fn next(&mut self) -> ShellEvent {
        match self.events.recv().await {
            Some(event) => event,
            None => {
                let ended = self.progress.wait_for(|progress| progress.ended.is_some()).await;
                ShellEvent::Ended(
                    ended.ok().and_then(|progress| progress.ended.clone()).unwrap_or(Error::Closed),
                )
            }
        }
    }

    /// Ends the session, at the service as well, and returns once that is done.
    ///
    /// # Errors
    /// When the service could not be told; the session lives on until its idle timeout then.
    pub async fn close(self) -> Result<(), Error> {
        // Nobody waits for output any more.
        drop(self.events);
        let (done, is_done) = oneshot::channel();
        let asked = self.close.send(done);
        // One that has ended by itself may still be telling the service.
        let closed = if asked.is_ok() { is_done.await.unwrap_or(Ok(())) } else { Ok(()) };
        drop(self.task.await);
        closed
    }
}

/// The keyboard of a shell.
#[derive(Clone, Debug)]
pub struct ShellInput(mpsc::Sender<Input>);

impl ShellInput {
    /// Types bytes, as they are: a terminal in raw mode sends a carriage return for Enter, and Ctrl-C as a byte.
    ///
    /// An agent that runs a single command has no terminal: it takes Ctrl-C (3) and Ctrl-\ (28) as signals, and drops
    /// all else. Waits while the other end is behind.
    ///
    /// # Errors
    /// [`Error::Closed`] when the session is over; [`Shell::next`] tells why.
    pub async fn write(&self, mut bytes: Bytes) -> Result<(), Error> {
        while !bytes.is_empty() {
            let chunk = bytes.split_to(bytes.len().min(PAYLOAD_SIZE));
            self.0.send(Input::Bytes(chunk)).await.map_err(|_| Error::Closed)?;
        }
        Ok(())
    }

    /// Tells the size of the terminal.
    ///
    /// # Errors
    /// [`Error::Closed`] when the session is over.
    pub async fn resize(&self, size: TerminalSize) -> Result<(), Error> {
        self.0.send(Input::Size(size)).await.map_err(|_| Error::Closed)
    }
}
