//! How to reach a server and log in to it: byte streams, the roots to trust, and a login.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use stack::Secret;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::Error;

/// Opens a fresh byte stream to the server, through the tunnel, for each connection.
pub trait Dial: Send + Sync + 'static {
    /// Returns a stream whose other end is the server's port.
    fn dial(&self) -> BoxFuture<'_, io::Result<BoxStream>>;
}

/// Where the databases are.
#[derive(Clone)]
pub struct Server {
    /// The name that the server's certificate must carry: the RDS endpoint, wherever the stream really leads.
    pub host: String,
    /// The server's port, for messages: the stream is `dial`'s.
    pub port: u16,
    /// The authorities that may vouch for the server.
    pub roots: Arc<RootCertStore>,
    /// How to get there.
    pub dial: Arc<dyn Dial>,
}

impl Server {
    /// Returns the authorities in a PEM bundle; lines between the certificates are comments.
    ///
    /// # Errors
    /// [`Error::Roots`] if there is no certificate, or one that cannot be read.
    pub fn roots_from_pem(pem: &[u8]) -> Result<RootCertStore, Error> {
        let refuse = |reason: String| Error::Roots { reason };
        let mut roots = RootCertStore::empty();
        for (at, certificate) in CertificateDer::pem_slice_iter(pem).enumerate() {
            let certificate =
                certificate.map_err(|error| refuse(format!("certificate {}: {error}", at + 1)))?;
            roots.add(certificate).map_err(|error| refuse(format!("certificate {}: {error}", at + 1)))?;
        }
        if roots.is_empty() {
            return Err(refuse("it holds no certificate".to_owned()));
        }
        Ok(roots)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("roots", &self.roots.len())
            .finish_non_exhaustive()
    }
}

/// Who connects to what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The role.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// The database; for a tenant, also the tenant's name.
    pub database: String,
}

/// A byte stream of any kind.
pub struct BoxStream(Box<dyn Stream>);

impl BoxStream {
    /// Takes ownership of a stream.
    pub fn new(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> BoxStream {
        BoxStream(Box::new(stream))
    }
}

impl fmt::Debug for BoxStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BoxStream")
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl AsyncRead for BoxStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for BoxStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}
