//! A session: one connection that is logged in, and what it can be asked.

use std::error::Error as _;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::config::{Config, SslMode};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{CancelToken, Client, Row};

use crate::path::{self, SearchPath};
use crate::tls::{Connector, Tls};
use crate::{Error, Login, Server};

/// How to connect; all but the time limit is told to the server in the first message, at no extra round trip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectOptions {
    /// What names without a schema mean.
    pub search_path: SearchPath,
    /// The role to act as, if not the one that logs in.
    pub role: Option<String>,
    /// How long a statement may wait for a lock.
    pub lock_timeout: Option<Duration>,
    /// How long a statement may take.
    pub statement_timeout: Option<Duration>,
    /// How long the session may be silent, in a transaction as well, before the server ends it and frees its locks.
    pub silence_limit: Option<Duration>,
    /// Whether the session breaks its silence three times as often by itself, for as long as its program lives.
    ///
    /// Not for one that has long statements: what is said in the middle of one to a server whose host has died is sent again by
    /// the far end's kernel for a quarter of an hour, before anybody hears of it. Of a silent connection it finds out in minutes.
    pub breaks_silence: bool,
    /// The name that others see in `pg_stat_activity`, so also who holds a lock.
    pub application_name: String,
    /// How long stream, TLS and login may take together.
    pub connect_timeout: Duration,
}

/// A server learns that its client is gone when it next reads or writes: not in the middle of a long statement, whose
/// locks then keep out whoever comes after. So it looks every five seconds (PostgreSQL 14 and later), and its kernel asks
/// a silent client whether it is still there. The far end of a tunnel says yes for a client that is gone, but it takes no
/// more of an answer than it has room for: the kernel gives up what nobody takes.
const ABANDONED: [(&str, &str); 5] = [
    ("client_connection_check_interval", "5000"),
    ("tcp_keepalives_idle", "15"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "45000"),
];

/// A role may hold a lock on what is its own for as long as it likes: whoever works on it gives up, and does the others.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
/// Behind a tunnel nobody tells the server that a client was killed: the bastion's agent keeps the connection, and answers for
/// it. What the client held must be free again while the next run waits for it ([`LOCK_LIMIT`](crate::lock::LOCK_LIMIT)). A
/// session that lives is hardly ever silent for so long, but for a large file on a slow line.
pub const SILENCE_LIMIT: Duration = Duration::from_secs(30);

/// What our sessions are called, or what their names begin with.
const APPLICATION_NAME: &str = "drawbridge";

/// Tells whether a session of that name says to be one of ours, which the server ends if it is silent.
pub(crate) fn is_ours(application: &str) -> bool {
    application.split(' ').next() == Some(APPLICATION_NAME)
}

impl Default for ConnectOptions {
    fn default() -> ConnectOptions {
        ConnectOptions {
            search_path: SearchPath::default(),
            role: None,
            lock_timeout: Some(LOCK_TIMEOUT),
            statement_timeout: None,
            silence_limit: Some(SILENCE_LIMIT),
            breaks_silence: true,
            application_name: APPLICATION_NAME.to_owned(),
            connect_timeout: Duration::from_secs(30),
        }
    }
}

impl ConnectOptions {
    /// Returns the `options` parameter of the startup message: `-c lock_timeout=5000`, and [`ABANDONED`].
    pub fn startup(&self) -> String {
        let mut settings: Vec<_> =
            ABANDONED.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        if self.search_path == SearchPath::Catalog {
            settings.push(("search_path", path::CATALOG.to_owned()));
        }
        if let Some(role) = &self.role {
            settings.push(("role", role.clone()));
        }
        for (name, limit) in [
            ("lock_timeout", self.lock_timeout),
            ("statement_timeout", self.statement_timeout),
            ("idle_session_timeout", self.silence_limit),
            ("idle_in_transaction_session_timeout", self.silence_limit),
        ] {
            if let Some(limit) = limit {
                // 0 would mean "no limit".
                settings.push((name, limit.as_millis().max(1).to_string()));
            }
        }
        settings
            .iter()
            .map(|(name, value)| format!("-c {name}={}", escape_option(value)))
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// Connects over verified TLS and logs in.
///
/// # Errors
/// [`Error::Dial`], [`Error::Tls`], [`Error::Unproved`], [`Error::Connect`] or [`Error::TimedOut`], by how far it got.
pub async fn connect(server: &Server, login: &Login, options: &ConnectOptions) -> Result<Session, Error> {
    let limit = options.connect_timeout;
    tokio::time::timeout(limit, Box::pin(open(server, login, options)))
        .await
        .unwrap_or_else(|_| Err(Error::TimedOut { host: server.host.clone(), limit }))
}

async fn open(server: &Server, login: &Login, options: &ConnectOptions) -> Result<Session, Error> {
    let tls_failed = |source| Error::Tls { host: server.host.clone(), source };
    let stream =
        server.dial.dial().await.map_err(|source| Error::Dial { host: server.host.clone(), source })?;
    let (connector, witness) =
        Connector::new(&server.host, Arc::clone(&server.roots)).map_err(|error| tls_failed(error.into()))?;

    let mut config = Config::new();
    config
        .user(&login.user)
        .password(login.password.expose())
        .dbname(&login.database)
        .application_name(&options.application_name)
        .options(options.startup())
        .ssl_mode(SslMode::Require);
    let (client, connection) = match config.connect_raw(stream, connector).await {
        Ok(connected) => connected,
        Err(error) => {
            let (database, user) = (login.database.clone(), login.user.clone());
            return Err(match (witness.weakness(), tls_cause(&error)) {
                (Some(reason), _) => Error::Unproved { database, user, reason },
                (None, Some(cause)) => tls_failed(cause),
                (None, None) => Error::Connect { database, user, source: error.into() },
            });
        }
    };
    let tls = witness.find().ok_or_else(|| tls_failed("the handshake proved nothing".into()))?;
    let version = connection.parameter("server_version").and_then(parse_major).unwrap_or_default();
    let quotations = connection.parameter("standard_conforming_strings") == Some("on");
    let driver = Task(tokio::spawn(async move {
        // The statement in flight gets this error too; there is nobody else to tell.
        drop(connection.await);
    }));
    let client = Arc::new(client);
    let heartbeat = options
        .silence_limit
        .filter(|_| options.breaks_silence)
        .map(|limit| Task(tokio::spawn(break_silence(Arc::downgrade(&client), limit / 3))));
    let (path, user) = (options.search_path, login.user.clone());
    Ok(Session { client, heartbeat, driver, tls, version, quotations, user, path })
}

/// Lets the server hear of the session, for as long as there is one.
async fn break_silence(client: Weak<Client>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let Some(client) = client.upgrade() else { return };
        // An empty query is no statement: it passes in a transaction that has failed, too, and is in nobody's way.
        if client.batch_execute("").await.is_err() && client.is_closed() {
            return;
        }
    }
}

/// A connection to one database. Dropping it ends the connection.
pub struct Session {
    client: Arc<Client>,
    heartbeat: Option<Task>,
    driver: Task,
    tls: Tls,
    version: u32,
    quotations: bool,
    user: String,
    path: SearchPath,
}

impl Session {
    /// Returns what the connection was proved to be.
    pub fn tls(&self) -> &Tls {
        &self.tls
    }

    /// Returns the server's major version: 16.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Returns whether a backslash in `'..'` is text to the server, as the standard has it.
    pub(crate) fn reads_quotations_as_standard(&self) -> bool {
        self.quotations
    }

    /// Returns the role that logged in.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Returns the client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Proves that the session lives.
    ///
    /// # Errors
    /// [`Error::Statement`] if it does not: its locks are free.
    pub async fn ping(&self) -> Result<(), Error> {
        self.execute("SELECT 1", || "ask the server for a sign of life".to_owned()).await
    }

    /// Returns what can cancel the statement in flight.
    pub(crate) fn canceller(&self, server: &Server) -> Canceller {
        Canceller { server: server.clone(), token: self.client.cancel_token() }
    }

    /// Says disconnect to the server, so that it frees locks at once, and waits for a moment until that is sent.
    pub async fn close(self) {
        let Session { client, heartbeat, mut driver, .. } = self;
        if let Some(mut heartbeat) = heartbeat {
            heartbeat.0.abort();
            // It may hold the client at this moment.
            drop((&mut heartbeat.0).await);
        }
        drop(client);
        // The server notices a dropped stream as well, only later.
        drop(tokio::time::timeout(Duration::from_secs(2), &mut driver.0).await);
    }

    /// Runs statements that return nothing; `doing` completes "cannot ..".
    pub(crate) async fn execute(&self, sql: &str, doing: impl Fn() -> String) -> Result<(), Error> {
        self.client
            .batch_execute(sql)
            .await
            .map_err(|error| Error::Statement { doing: doing(), source: error.into() })
    }

    /// Runs one query in one round trip, in which names mean the server's own objects; `doing` completes "cannot ..".
    pub(crate) async fn query(
        &self,
        sql: &str,
        values: &[(&(dyn ToSql + Sync), Type)],
        doing: &str,
    ) -> Result<Vec<Row>, Error> {
        let ask = async {
            match self.path {
                SearchPath::Catalog => self.client.query_typed(sql, values).await,
                SearchPath::Own => {
                    let led = path::lead_to_catalog(&self.client).await?;
                    let rows = self.client.query_typed(sql, values).await;
                    led.finish().await?;
                    rows
                }
            }
        };
        ask.await.map_err(|error| Error::Statement { doing: doing.to_owned(), source: error.into() })
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("user", &self.user)
            .field("version", &self.version)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

/// The right to cancel what a session has in flight, over a connection of its own.
pub(crate) struct Canceller {
    server: Server,
    token: CancelToken,
}

impl Canceller {
    /// Asks the server to cancel; how the statement ends is in its own answer.
    pub(crate) async fn cancel(&self, limit: Duration) {
        let ask = async {
            let stream = self.server.dial.dial().await.ok()?;
            let (connector, _) = Connector::new(&self.server.host, Arc::clone(&self.server.roots)).ok()?;
            self.token.cancel_query_raw(stream, connector).await.ok()
        };
        // If it does not get there, closing the session ends the statement too, only later.
        drop(tokio::time::timeout(limit, Box::pin(ask)).await);
    }
}

/// A task that ends with its session.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Returns why TLS failed, if it is TLS that failed.
fn tls_cause(error: &tokio_postgres::Error) -> Option<Box<dyn std::error::Error + Send + Sync>> {
    let cause = error.source()?;
    if let Some(rustls) = find_rustls(cause) {
        return Some(rustls.clone().into());
    }
    // tokio-postgres has no other way to tell that the server answered `N` to the request for TLS.
    let text = cause.to_string();
    text.contains("does not support TLS").then(|| text.into())
}

fn find_rustls<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    if let Some(rustls) = error.downcast_ref::<rustls::Error>() {
        return Some(rustls);
    }
    if let Some(io) = error.downcast_ref::<std::io::Error>() {
        return io.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    }
    error.source().and_then(find_rustls)
}

fn parse_major(version: &str) -> Option<u32> {
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Escapes a value for the `options` parameter, which the server splits at white space.
fn escape_option(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for c in value.chars() {
        if c == '\\' || c.is_ascii_whitespace() || c == '\x0b' {
            text.push('\\');
        }
        text.push(c);
    }
    text
}
