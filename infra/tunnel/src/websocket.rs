//! One websocket: the only place where bytes meet the network.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::{Sink, Stream};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use crate::error::Error;
use crate::heartbeat::{Due, Heartbeat};
use crate::tls;

const CONNECT_LIMIT: Duration = Duration::from_secs(15);
/// Far more than any agent puts in a message.
const MAX_MESSAGE: usize = 4 << 20;
/// How many frames are taken at once, so that their acknowledgements leave in one write.
const BATCH: usize = 64;
/// With this many frames waiting to be written nothing more is read: the other end does not read either.
const MAX_QUEUE: usize = 65_536;

/// With this many pings unanswered, because the other end does not read what we write, the connection is given up: each leaves
/// an answer in memory.
const MAX_PINGS: usize = 1024;

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// An open websocket with a queue of frames to write. All its futures may be dropped at any time.
pub(crate) struct Connection {
    socket: WebSocketStream<Box<dyn Io>>,
    queue: VecDeque<Message>,
    unflushed: bool,
    /// Pings that came since all that was to be written last was.
    pings: usize,
    lost: Option<Error>,
}

/// Whether a connection may take more from the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    Open,
    Stopped,
}

impl Connection {
    /// Opens a websocket to `url` with more headers in its request; without `tls` the system's roots are used.
    pub(crate) async fn open(
        url: &str,
        headers: Vec<(String, String)>,
        tls: Option<Arc<ClientConfig>>,
    ) -> Result<Connection, Error> {
        let request = request(url, headers)?;
        let uri = request.uri();
        let secure = match uri.scheme_str() {
            Some("wss") => true,
            Some("ws") => false,
            _ => return Err(Error::Url),
        };
        let name = uri.host().ok_or(Error::Url)?.trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let host = format!("{name}:{port}");
        let tls = match tls {
            Some(tls) if secure => Some(TlsConnector::from(tls)),
            None if secure => Some(TlsConnector::from(tls::system_config()?)),
            _ => None,
        };
        let opened = timeout(CONNECT_LIMIT, upgrade(request, name, port, tls)).await;
        let socket = match opened {
            Ok(Ok(socket)) => socket,
            Ok(Err(WsError::Http(response))) => {
                return Err(Error::Refused { host, status: response.status().as_u16() });
            }
            Ok(Err(error)) => return Err(Error::Connect { host, source: Arc::new(error) }),
            Err(elapsed) => return Err(Error::Connect { host, source: Arc::new(elapsed) }),
        };
        Ok(Connection { socket, queue: VecDeque::new(), unflushed: false, pings: 0, lost: None })
    }

    pub(crate) fn queue_text(&mut self, text: &Bytes) {
        self.queue.push_back(Message::text(String::from_utf8_lossy(text).into_owned()));
    }

    pub(crate) fn queue_frame(&mut self, frame: Bytes) {
        self.queue.push_back(Message::Binary(frame));
    }

    /// Pings if that is due; an error says that the connection is dead, whatever the socket says.
    pub(crate) fn beat(&mut self, heartbeat: &mut Heartbeat, now: Instant) -> Result<(), Error> {
        match heartbeat.due(now.into_std(), SystemTime::now()) {
            Due::Nothing => (),
            Due::Ping => self.queue.push_back(Message::Ping(Bytes::from_static(b"keepalive"))),
            Due::GiveUp => {
                let seconds = heartbeat.silence(now.into_std()).as_secs();
                return Err(Error::Lost { why: format!("nothing came for {seconds} seconds") });
            }
        }
        Ok(())
    }

    /// Writes what is queued and returns the next data frames; none if something else came, such as a pong.
    pub(crate) async fn next(&mut self, reading: Reading) -> Result<Vec<Bytes>, Error> {
        poll_fn(|cx| self.poll_next(cx, reading)).await
    }

    /// Writes all that is queued and says disconnect.
    pub(crate) async fn close(mut self) {
        poll_fn(|cx| match self.poll_write(cx) {
            Ok(()) if self.queue.is_empty() && !self.unflushed => Poll::Ready(()),
            Ok(()) => Poll::Pending,
            Err(_) => Poll::Ready(()),
        })
        .await;
        // The session is over whether or not the other end hears this.
        drop(self.socket.close(None).await);
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, reading: Reading) -> Poll<Result<Vec<Bytes>, Error>> {
        if let Some(error) = self.lost.take() {
            return Poll::Ready(Err(error));
        }
        // What came before the connection broke is still there to be read: acknowledgements, most of all.
        let broken = self.poll_write(cx).err();
        if reading == Reading::Stopped || self.queue.len() > MAX_QUEUE {
            return broken.map_or(Poll::Pending, |error| Poll::Ready(Err(error)));
        }
        let mut frames = Vec::new();
        for taken in 0..BATCH {
            let lost = match Pin::new(&mut self.socket).poll_next(cx) {
                Poll::Ready(Some(Ok(Message::Binary(frame)))) => {
                    frames.push(frame);
                    continue;
                }
                Poll::Ready(Some(Ok(Message::Text(text)))) => {
                    frames.push(text.into());
                    continue;
                }
                Poll::Ready(Some(Ok(Message::Close(frame)))) => {
                    let code = frame.map_or_else(|| "no code".to_owned(), |frame| frame.code.to_string());
                    Error::Lost { why: format!("the service closed the websocket with {code}") }
                }
                Poll::Ready(Some(Ok(Message::Ping(_)))) if self.pings >= MAX_PINGS => {
                    let why = format!("the service sent {MAX_PINGS} pings and reads no answer");
                    Error::Lost { why }
                }
                Poll::Ready(Some(Ok(Message::Ping(_)))) => {
                    // The answer waits inside the socket for the next write.
                    self.unflushed = true;
                    self.pings += 1;
                    continue;
                }
                Poll::Ready(Some(Ok(Message::Pong(_) | Message::Frame(_)))) => continue,
                Poll::Ready(Some(Err(error))) => lost(&error),
                Poll::Ready(None) => Error::Lost { why: "the websocket ended".to_owned() },
                Poll::Pending if taken == 0 && broken.is_none() => return Poll::Pending,
                Poll::Pending => break,
            };
            if frames.is_empty() {
                return Poll::Ready(Err(lost));
            }
            self.lost = Some(lost);
            break;
        }
        match broken {
            Some(error) if frames.is_empty() => Poll::Ready(Err(error)),
            Some(error) => {
                self.lost.get_or_insert(error);
                Poll::Ready(Ok(frames))
            }
            None => Poll::Ready(Ok(frames)),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        while !self.queue.is_empty() {
            match Pin::new(&mut self.socket).poll_ready(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(ready) => ready.map_err(|error| lost(&error))?,
            }
            if let Some(message) = self.queue.pop_front() {
                Pin::new(&mut self.socket).start_send(message).map_err(|error| lost(&error))?;
                self.unflushed = true;
            }
        }
        if self.unflushed
            && let Poll::Ready(flushed) = Pin::new(&mut self.socket).poll_flush(cx)
        {
            flushed.map_err(|error| lost(&error))?;
            self.unflushed = false;
            self.pings = 0;
        }
        Ok(())
    }
}

fn lost(error: &WsError) -> Error {
    Error::Lost { why: error.to_string() }
}

fn request(url: &str, headers: Vec<(String, String)>) -> Result<Request, Error> {
    let mut request = url.into_client_request().map_err(|_| Error::Url)?;
    for (name, value) in headers {
        // The request has its own, and two would break the signature.
        if name.eq_ignore_ascii_case("host") {
            continue;
        }
        let invalid = |source: &(dyn std::error::Error + Send + Sync)| Error::Control {
            action: "sign",
            source: Arc::from(Box::<dyn std::error::Error + Send + Sync>::from(source.to_string())),
        };
        let name = HeaderName::try_from(name).map_err(|error| invalid(&error))?;
        let mut value = HeaderValue::try_from(value).map_err(|error| invalid(&error))?;
        value.set_sensitive(true);
        request.headers_mut().insert(name, value);
    }
    Ok(request)
}

async fn upgrade(
    request: Request,
    name: String,
    port: u16,
    tls: Option<TlsConnector>,
) -> Result<WebSocketStream<Box<dyn Io>>, WsError> {
    let tcp = TcpStream::connect((name.as_str(), port)).await?;
    // Without this every small message waits for the acknowledgement of the one before: 40 ms each.
    tcp.set_nodelay(true)?;
    let io: Box<dyn Io> = match tls {
        Some(tls) => {
            let name = ServerName::try_from(name).map_err(std::io::Error::other)?;
            Box::new(tls.connect(name, tcp).await?)
        }
        None => Box::new(tcp),
    };
    let config =
        WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
    let (socket, _) = tokio_tungstenite::client_async_with_config(request, io, Some(config)).await?;
    Ok(socket)
}
