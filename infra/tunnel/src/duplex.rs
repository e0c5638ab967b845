//! The two queues between a stream's owner and the task that owns the websocket.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use tokio::io::ReadBuf;
use tokio::sync::Notify;

use crate::error::Error;
use crate::receive_buffer::{Budget, ReceiveBuffer};

/// What a stream takes from its writer before the writer waits.
const OUTBOUND: usize = 64 << 10;

/// The two queues of one stream.
#[derive(Debug)]
pub(crate) struct Duplex {
    /// Wakes the task of the stream's session.
    changed: Arc<Notify>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    inbound: ReceiveBuffer,
    outbound: BytesMut,
    reader: Option<Waker>,
    writer: Option<Waker>,
    input: Input,
    end: Option<End>,
}

/// What the stream's owner will still do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// Write and read.
    Open,
    /// Read only.
    Finished,
    /// Nothing: the stream was dropped.
    Dropped,
}

/// How a stream ended at the other side.
#[derive(Clone, Debug)]
pub(crate) enum End {
    Eof,
    Failed(Error),
}

impl Duplex {
    pub(crate) fn new(changed: Arc<Notify>, budget: Arc<Budget>) -> Duplex {
        let state = State {
            inbound: ReceiveBuffer::new(budget),
            outbound: BytesMut::new(),
            reader: None,
            writer: None,
            input: Input::Open,
            end: None,
        };
        Duplex { changed, state: Mutex::new(state) }
    }

    /// Returns up to `limit` bytes to send, and what the owner will still do once they are sent.
    pub(crate) fn take(&self, limit: usize) -> (Bytes, Input) {
        let mut state = self.lock();
        let length = state.outbound.len().min(limit);
        let bytes = state.outbound.split_to(length).freeze();
        if !bytes.is_empty()
            && let Some(writer) = state.writer.take()
        {
            writer.wake();
        }
        let input = if state.outbound.is_empty() { state.input } else { Input::Open };
        (bytes, input)
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.lock().outbound.is_empty()
    }

    pub(crate) fn deliver(&self, bytes: Bytes) {
        let mut state = self.lock();
        if state.input == Input::Dropped {
            return;
        }
        state.inbound.push(bytes);
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
    }

    /// Ends the stream; bytes that came before can still be read.
    pub(crate) fn end(&self, end: End) {
        let mut state = self.lock();
        state.end.get_or_insert(end);
        state.outbound.clear();
        for waker in [state.reader.take(), state.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }

    pub(crate) fn poll_read(&self, cx: &Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = self.lock();
        if state.inbound.read(buf)? > 0 {
            return Poll::Ready(Ok(()));
        }
        match &state.end {
            Some(End::Eof) => Poll::Ready(Ok(())),
            Some(End::Failed(error)) => Poll::Ready(Err(io_error(error))),
            None if buf.remaining() == 0 => Poll::Ready(Ok(())),
            None => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    pub(crate) fn poll_write(&self, cx: &Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.lock();
        match &state.end {
            Some(End::Failed(error)) => return Poll::Ready(Err(io_error(error))),
            Some(End::Eof) => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            None if state.input != Input::Open => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            None => (),
        }
        let room = OUTBOUND.saturating_sub(state.outbound.len());
        if room == 0 {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let length = bytes.len().min(room);
        state.outbound.extend_from_slice(&bytes[..length]);
        drop(state);
        self.changed.notify_one();
        Poll::Ready(Ok(length))
    }

    pub(crate) fn finish(&self) {
        let mut state = self.lock();
        if state.input == Input::Open {
            state.input = Input::Finished;
        }
        drop(state);
        self.changed.notify_one();
    }

    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        state.input = Input::Dropped;
        state.inbound.clear();
        drop(state);
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock; and if it did, the queues would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn io_error(error: &Error) -> io::Error {
    let kind = if matches!(error, Error::ConnectFailed { .. }) {
        io::ErrorKind::ConnectionRefused
    } else if matches!(error, Error::Unanswered { .. }) {
        io::ErrorKind::TimedOut
    } else {
        io::ErrorKind::ConnectionAborted
    };
    io::Error::new(kind, error.clone())
}
