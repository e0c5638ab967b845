//! A session with a terminal, or with a single command.

mod channel;
mod event;
mod options;
mod payload;
mod session;

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};

pub use self::event::ShellEvent;
pub use self::options::ShellOptions;
pub use self::payload::{
    EncryptionChallenge, KmsRequest, KmsResponse, TerminalSize, parse_exit_code, render_exit_code,
};
use self::session::{Done, Ends, Input, Session};
use crate::PAYLOAD_SIZE;
use crate::control::Control;
use crate::error::Error;
use crate::link::Progress;

/// What may wait for its turn, in messages: typed bytes on one side, output on the other.
const QUEUE: usize = 64;

/// A session with a shell.
///
/// It survives lost connections as a tunnel does: nothing that was typed or printed is lost. While its events are not
/// taken, what comes waits at the other end, and at most some hundred kilobytes here.
///
/// Dropping it ends the session in the background; [`Shell::close`] does so and waits.
#[derive(Debug)]
pub struct Shell {
    handle: ShellHandle,
    events: mpsc::Receiver<ShellEvent>,
}

impl Shell {
    /// Starts a session in the background.
    pub fn start(control: Arc<dyn Control>, options: ShellOptions) -> Shell {
        let (typed, input) = mpsc::channel(QUEUE);
        let (output, events) = mpsc::channel(QUEUE);
        let (told, progress) = watch::channel(Progress::default());
        let (close, closing) = mpsc::unbounded_channel();
        let ends = Ends { input, output, progress: told, close: closing };
        drop(tokio::spawn(Session::run(control, options, ends)));
        Shell { handle: ShellHandle { typed, close, progress }, events }
    }

    /// Starts a session and returns once the shell listens.
    ///
    /// # Errors
    /// As [`Shell::ready`]. The session is terminated then.
    pub async fn open(control: Arc<dyn Control>, options: ShellOptions) -> Result<Shell, Error> {
        let mut shell = Shell::start(control, options);
        shell.ready().await?;
        Ok(shell)
    }

    /// Waits until the shell listens: after the handshake, or with the prompt if there is none.
    ///
    /// # Errors
    /// When no session can be started or connected to, the agent asks for what a shell does not have, there is no data
    /// key for its encryption, or the time is over. The session has been terminated then.
    pub async fn ready(&mut self) -> Result<(), Error> {
        match self.handle.until(|progress| progress.was_ready || progress.ended.is_some()).await {
            Progress { was_ready: false, ended } => Err(ended.unwrap_or(Error::Closed)),
            Progress { was_ready: true, .. } => Ok(()),
        }
    }

    /// Returns the way to type, and to end the session from elsewhere.
    pub fn handle(&self) -> ShellHandle {
        self.handle.clone()
    }

    /// Returns what comes next. After the end it says [`ShellEvent::Ended`] again and again.
    ///
    /// It may be dropped and called again at any time; nothing is lost.
    pub async fn next(&mut self) -> ShellEvent {
        match self.events.recv().await {
            Some(event) => event,
            None => {
                let Progress { ended, .. } = self.handle.until(|progress| progress.ended.is_some()).await;
                ShellEvent::Ended(ended.unwrap_or(Error::Closed))
            }
        }
    }

    /// Ends the session, at the service as well, and returns once that is done.
    ///
    /// # Errors
    /// When the service could not be told; the session lives on until its idle timeout then.
    pub async fn close(self) -> Result<(), Error> {
        self.handle.close().await
    }
}

/// The keyboard of a shell, and its switch. It does not keep the session alive.
#[derive(Clone, Debug)]
pub struct ShellHandle {
    typed: mpsc::Sender<Input>,
    close: mpsc::UnboundedSender<Done>,
    progress: watch::Receiver<Progress>,
}

impl ShellHandle {
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
            self.typed.send(Input::Bytes(chunk)).await.map_err(|_| Error::Closed)?;
        }
        Ok(())
    }

    /// Tells the size of the terminal.
    ///
    /// # Errors
    /// [`Error::Closed`] when the session is over.
    pub async fn resize(&self, size: TerminalSize) -> Result<(), Error> {
        self.typed.send(Input::Size(size)).await.map_err(|_| Error::Closed)
    }

    /// Ends the session, at the service as well, and returns once that is done. What was not read yet is lost.
    ///
    /// # Errors
    /// When the service could not be told; the session lives on until its idle timeout then.
    pub async fn close(&self) -> Result<(), Error> {
        let (done, is_done) = oneshot::channel();
        // A session that has ended drops what it is sent.
        drop(self.close.send(done));
        let closed = is_done.await.unwrap_or(Ok(()));
        // One that has ended by itself may still be telling the service.
        self.until(|progress| progress.ended.is_some()).await;
        closed
    }

    /// Waits until the session has come that far; one whose task is gone has ended.
    async fn until(&self, reached: impl FnMut(&Progress) -> bool) -> Progress {
        let mut progress = self.progress.clone();
        match progress.wait_for(reached).await {
            Ok(progress) => progress.clone(),
            Err(_) => Progress { was_ready: false, ended: Some(Error::Closed) },
        }
    }
}
