//! TLS with the server's name verified, and what it came to: tokio-postgres-rustls keeps its session to itself, so
//! the certificate's verifier and the stream note down what `verify` has to report.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use futures_util::future::BoxFuture;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::BoxStream;
use crate::limit::Limiter;

/// What a connection was proved to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tls {
    /// `TLSv1.3` or `TLSv1.2`.
    pub protocol: &'static str,
    /// The name that the certificate was verified for.
    pub server_name: String,
}

/// The only way in which a server is told anything about a password: it does not leave this machine.
pub const AUTH: &str = "SCRAM-SHA-256";

/// Returns what is wrong with another way in which a server asks for the password (PostgreSQL, "Message Formats").
fn weakness(asked: u32) -> &'static str {
    match asked {
        0 => "the server asks for no password, so that anybody may be anybody",
        // Answering would hand over the password itself.
        3 => "the server asks for the clear password",
        5 => "the server asks for a hash of the password (MD5), which is as good as the password",
        _ => "the server asks for something other than a proof of the password",
    }
}

type Rustls = <MakeRustlsConnect as MakeTlsConnect<BoxStream>>::TlsConnect;
type RustlsStream = <MakeRustlsConnect as MakeTlsConnect<BoxStream>>::Stream;

/// A connector for one connection; keep the [`Witness`] to learn what it saw.
pub(crate) struct Connector {
    inner: Rustls,
    witness: Arc<Witness>,
}

impl Connector {
    pub(crate) fn new(
        host: &str,
        roots: Arc<RootCertStore>,
    ) -> Result<(Connector, Arc<Witness>), rustls::Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let webpki = WebPkiServerVerifier::builder_with_provider(roots, provider.clone())
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        let witness = Arc::new(Witness { webpki, seen: Mutex::default() });
        // "Dangerous" only in name: the witness adds nothing to what webpki decides. A config of its own for each
        // connection also means no resumed session, so that the certificate is looked at every time.
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(witness.clone())
            .with_no_client_auth();
        let Ok(inner) =
            MakeTlsConnect::<BoxStream>::make_tls_connect(&mut MakeRustlsConnect::new(config), host);
        Ok((Connector { inner, witness: witness.clone() }, witness))
    }
}

impl TlsConnect<BoxStream> for Connector {
    type Stream = Watched;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Watched>>;

    fn connect(self, stream: BoxStream) -> Self::Future {
        let handshake = self.inner.connect(stream);
        Box::pin(async move {
            let inner = handshake.await?;
            let (head, limiter) = (Head::default(), Limiter::default());
            Ok(Watched { inner, head, limiter, chunk: vec![0; CHUNK], witness: self.witness })
        })
    }
}

/// Verifies certificates as webpki does, and remembers for which name and in which protocol.
#[derive(Debug)]
pub(crate) struct Witness {
    webpki: Arc<WebPkiServerVerifier>,
    seen: Mutex<Seen>,
}

#[derive(Clone, Debug, Default)]
struct Seen {
    server_name: Option<String>,
    protocol: Option<&'static str>,
    /// Whether the password was proved.
    is_proved: bool,
    weakness: Option<&'static str>,
}

impl Witness {
    /// Returns what the connection was proved to be, once all of it was proved.
    pub(crate) fn find(&self) -> Option<Tls> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (protocol, server_name) = (seen.protocol?, seen.server_name?);
        seen.is_proved.then_some(Tls { protocol, server_name })
    }

    /// Returns why the login went no further, if that is how the server asked for the password.
    pub(crate) fn weakness(&self) -> Option<&'static str> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).weakness
    }

    fn note(&self, note: impl FnOnce(&mut Seen)) {
        note(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified =
            self.webpki.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        self.note(|seen| seen.server_name = Some(server_name.to_str().into_owned()));
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let valid = self.webpki.verify_tls12_signature(message, cert, dss)?;
        self.note(|seen| seen.protocol = Some("TLSv1.2"));
        Ok(valid)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let valid = self.webpki.verify_tls13_signature(message, cert, dss)?;
        self.note(|seen| seen.protocol = Some("TLSv1.3"));
        Ok(valid)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// So much is read at a time.
const CHUNK: usize = 16 << 10;

/// The encrypted stream; its first message from the server says how it asks for the password, and no message is endless.
pub(crate) struct Watched {
    inner: RustlsStream,
    head: Head,
    limiter: Limiter,
    chunk: Vec<u8>,
    witness: Arc<Witness>,
}

/// The first nine bytes: `R`, a length, and the kind of authentication.
#[derive(Default)]
struct Head {
    bytes: [u8; 9],
    len: usize,
}

impl Head {
    /// Returns the kind of authentication at the moment that its last byte is there.
    fn push(&mut self, bytes: &[u8]) -> Option<u32> {
        let want = self.bytes.len() - self.len;
        if want == 0 || bytes.is_empty() {
            return None;
        }
        let take = want.min(bytes.len());
        self.bytes[self.len..self.len + take].copy_from_slice(&bytes[..take]);
        self.len += take;
        let [b'R', _, _, _, _, kind @ ..] = self.bytes else { return None };
        (self.len == self.bytes.len()).then(|| u32::from_be_bytes(kind))
    }
}

impl TlsStream for Watched {
    fn channel_binding(&self) -> ChannelBinding {
        self.inner.channel_binding()
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            let given = this.limiter.give(buf.initialize_unfilled())?;
            if given > 0 || buf.remaining() == 0 {
                buf.advance(given);
                return Poll::Ready(Ok(()));
            }
            let mut chunk = ReadBuf::new(&mut this.chunk);
            ready!(Pin::new(&mut this.inner).poll_read(cx, &mut chunk))?;
            let came = chunk.filled();
            if came.is_empty() {
                return Poll::Ready(Ok(()));
            }
            match this.head.push(came) {
                None => {}
                Some(10) => this.witness.note(|seen| seen.is_proved = true),
                Some(asked) => {
                    let weakness = weakness(asked);
                    this.witness.note(|seen| seen.weakness = Some(weakness));
                    return Poll::Ready(Err(io::Error::other(weakness)));
                }
            }
            this.limiter.feed(came);
        }
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
