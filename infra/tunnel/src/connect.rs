//! From a session to an open connection: resume, sign, connect, send the token.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls::ClientConfig;
use tokio::time::timeout;

use crate::control::Control;
use crate::error::Error;
use crate::payload::OpenDataChannel;
use crate::websocket::Connection;

/// How long resuming may take once there are credentials. Credentials have no limit here: a helper may ask somebody.
const RESUME_LIMIT: Duration = Duration::from_secs(30);

/// Returns a connection to `url` whose first frame will be `open`.
pub(crate) async fn sign_and_open(
    control: Arc<dyn Control>,
    url: String,
    open: Bytes,
    tls: Option<Arc<ClientConfig>>,
) -> Result<Connection, Error> {
    let headers = if is_presigned(&url) {
        Vec::new()
    } else {
        control
            .sign(&url)
            .await
            .map_err(|error| Error::Control { action: "sign", source: Arc::from(error) })?
    };
    let mut connection = Connection::open(&url, headers, tls).await?;
    connection.queue_text(&open);
    Ok(connection)
}

/// Returns a new connection to a session and its URL, or `None` if the session has ended.
pub(crate) async fn reopen(
    control: Arc<dyn Control>,
    session_id: String,
    old_url: String,
    mut open: OpenDataChannel,
    tls: Option<Arc<ClientConfig>>,
) -> Result<Option<(Connection, String)>, Error> {
    let failed = |error| Error::Control { action: "resume", source: Arc::from(error) };
    control.prepare().await.map_err(failed)?;
    let resumed = match timeout(RESUME_LIMIT, control.resume(&session_id)).await {
        Ok(resumed) => resumed.map_err(failed)?,
        Err(elapsed) => return Err(Error::Control { action: "resume", source: Arc::new(elapsed) }),
    };
    let Some(session) = resumed else {
        return Ok(None);
    };
    open.token_value = session.token;
    // An answer without a URL means that the old one is still good.
    let url = if session.url.is_empty() { old_url } else { session.url };
    let connection = sign_and_open(control, url.clone(), open.to_payload(), tls).await?;
    Ok(Some((connection, url)))
}

fn is_presigned(url: &str) -> bool {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    query.split('&').any(|field| field.get(..6).is_some_and(|name| name.eq_ignore_ascii_case("X-Amz-")))
}
