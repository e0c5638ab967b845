//! One connection to the target, read and written like any other socket.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::duplex::Duplex;

/// One connection to the tunnel's target.
///
/// The bastion connects only after the stream was handed out: if it cannot, reading and writing fail with
/// `ConnectionRefused` around [`Error::ConnectFailed`](crate::Error::ConnectFailed), or with `TimedOut` around
/// [`Error::Unanswered`](crate::Error::Unanswered) if the options set a limit.
///
/// Writing waits while the other end is behind. Shutting down says that nothing more will be written; the
/// stream stays readable until the other end closes or falls silent, because the protocol has no half-close
/// and an answer later than that is lost. Dropping closes it once everything written is sent.
#[derive(Debug)]
pub struct Stream {
    duplex: Arc<Duplex>,
}

impl Stream {
    pub(crate) fn new(duplex: Arc<Duplex>) -> Stream {
        Stream { duplex }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.duplex.poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.duplex.poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Whatever is written is on its way; nothing waits for more.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.duplex.finish();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.duplex.abandon();
    }
}
