//! Connects a session, and connects it again whenever the connection is lost.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::time::{Instant, sleep, timeout};

use crate::connect::{reopen, sign_and_open};
use crate::control::{Control, SessionToken};
use crate::drive::drive;
use crate::error::Error;
use crate::event::{Event, Events};
use crate::traffic::{End, Traffic};
use crate::websocket::Connection;

const GOODBYE_LIMIT: Duration = Duration::from_secs(1);
const TERMINATE_LIMIT: Duration = Duration::from_secs(10);
/// A connection that lasts this long, or gets anything through, ends an outage. After any other the same back-off goes on.
const STABLE: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// What connects a session.
#[derive(Clone)]
pub(crate) struct ConnectionOptions {
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) resume_limit: Duration,
    pub(crate) events: Events,
}

/// A session that the service has started, and its outages.
pub(crate) struct ConnectionLoop {
    control: Arc<dyn Control>,
    token: SessionToken,
    options: ConnectionOptions,
    outage: Option<Outage>,
}

struct Outage {
    since: Instant,
    pause: Duration,
}

impl ConnectionLoop {
    /// Asks the service for a session.
    pub(crate) async fn start(
        control: Arc<dyn Control>,
        options: ConnectionOptions,
    ) -> Result<ConnectionLoop, Error> {
        let token = control.start().await;
        let token = token.map_err(|error| Error::Control { action: "start", source: Arc::from(error) })?;
        options.events.emit(Event::Started { session_id: token.session_id.clone() });
        Ok(ConnectionLoop { control, token, options, outage: None })
    }

    pub(crate) fn session_id(&self) -> &str {
        &self.token.session_id
    }

    /// Carries the traffic, through every lost connection; returns why the session is over.
    pub(crate) async fn run(&mut self, traffic: &mut impl Traffic) -> Error {
        let open = traffic.reliable().open_frame(&self.token.token).to_payload();
        let (control, tls) = (Arc::clone(&self.control), self.options.tls.clone());
        let opening = sign_and_open(control, self.token.url.clone(), open, tls);
        let mut connection = match traffic.unless_closed(opening).await {
            Some(Ok(connection)) => connection,
            Some(Err(error)) => return error,
            None => return Error::Closed,
        };
        loop {
            let (since, progress) = (Instant::now(), traffic.reliable().progress());
            let lost = match drive(traffic, &mut connection).await {
                End::Lost(error) => error,
                End::Over(error) => {
                    drop(timeout(GOODBYE_LIMIT, connection.close()).await);
                    return error;
                }
            };
            if traffic.is_closing() {
                return Error::Closed;
            }
            let lost_at = Instant::now();
            if since.elapsed() >= STABLE || traffic.reliable().progress() > progress {
                self.outage = None;
            } else if let Some(outage) =
                self.outage.as_mut().filter(|_| traffic.reliable().outgoing().outstanding() == 0)
            {
                // Nothing was waiting to be sent, so the limit does not run.
                outage.since = lost_at;
            }
            let session_id = self.token.session_id.clone();
            self.options.events.emit(Event::Lost { session_id: session_id.clone(), why: lost.clone() });
            traffic.on_lost();
            // It may still be open: we also give up a connection on which the agent is silent.
            drop(connection);
            connection = match self.resume(traffic, lost).await {
                Ok(connection) => connection,
                Err(error) => return error,
            };
            for frame in traffic.on_resumed() {
                connection.queue_frame(frame);
            }
            let after = lost_at.elapsed();
            self.options.events.emit(Event::Resumed { session_id, after });
        }
    }

    /// Connects again with a new token, as often as the limit allows.
    async fn resume(&mut self, traffic: &mut impl Traffic, lost: Error) -> Result<Connection, Error> {
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
                let old_url = self.token.url.clone();
                let open_frame = traffic.reliable().open_frame(&self.token.token);
                let (control, tls) = (Arc::clone(&self.control), self.options.tls.clone());
                let session_id = self.token.session_id.clone();
                async move {
                    sleep(pause).await;
                    reopen(control, session_id, old_url, open_frame, tls).await
                }
            };
            match traffic.unless_closed(attempt).await {
                Some(Ok(Some((connection, url)))) => {
                    self.token.url = url;
                    return Ok(connection);
                }
                Some(Ok(None)) => return Err(Error::SessionEnded { output: String::new() }),
                Some(Err(error)) => {
                    // Reported at once: a user who must log in again has to know before the limit is over.
                    if error.chain() != last.chain() {
                        let session_id = self.token.session_id.clone();
                        self.options.events.emit(Event::ResumeFailed { session_id, why: error.clone() });
                    }
                    last = error;
                }
                None => return Err(Error::Closed),
            }
        }
    }

    /// Tells the service that the session is over, unless it was the service that said so.
    pub(crate) async fn finish(&self, why: &Error) -> Result<(), Error> {
        self.options
            .events
            .emit(Event::Ended { session_id: self.token.session_id.clone(), why: why.clone() });
        if why.is_session_end() {
            return Ok(());
        }
        let failed = |source| Error::Control { action: "terminate", source };
        match timeout(TERMINATE_LIMIT, self.control.terminate(&self.token.session_id)).await {
            Ok(told) => told.map_err(|error| failed(Arc::from(error))),
            Err(elapsed) => Err(failed(Arc::new(elapsed))),
        }
    }
}
