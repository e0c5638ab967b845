//! From a session to an open connection: resume, sign, connect, send the token.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls::ClientConfig;
use tokio::time::timeout;

use crate::control::{Control, ControlError};
use crate::error::Error;
use crate::payload::OpenDataChannel;
use crate::websocket::Connection;

const CONTROL_LIMIT: Duration = Duration::from_secs(30);

/// Returns a connection to `url` whose first frame will be `open`.
pub(crate) async fn sign_and_open(
    control: Arc<dyn Control>,
    url: String,
    open: Bytes,
    tls: Option<Arc<ClientConfig>>,
) -> Result<Connection, Error> {
    let headers = if is_presigned(&url) { Vec::new() } else { ask("sign", control.sign(&url)).await? };
    let mut connection = Connection::open(&url, headers, tls).await?;
    connection.queue_text(&open);
    Ok(connection)
}

/// Returns a new connection to a session, or `None` if the session has ended.
pub(crate) async fn reopen(
    control: Arc<dyn Control>,
    session_id: String,
    mut open: OpenDataChannel,
    tls: Option<Arc<ClientConfig>>,
) -> Result<Option<Connection>, Error> {
    let Some(session) = ask("resume", control.resume(&session_id)).await? else {
        return Ok(None);
    };
    open.token_value = session.token;
    sign_and_open(control, session.url, open.to_payload(), tls).await.map(Some)
}

async fn ask<T>(
    action: &'static str,
    answer: impl Future<Output = Result<T, ControlError>>,
) -> Result<T, Error> {
    match timeout(CONTROL_LIMIT, answer).await {
        Ok(answer) => answer.map_err(|error| Error::Control { action, source: Arc::from(error) }),
        Err(elapsed) => Err(Error::Control { action, source: Arc::new(elapsed) }),
    }
}

fn is_presigned(url: &str) -> bool {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    query.split('&').any(|field| field.get(..6).is_some_and(|name| name.eq_ignore_ascii_case("X-Amz-")))
}
