//! The server's half of a websocket's opening.

use std::net::SocketAddr;

use hyper::StatusCode;
use hyper::header::{CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::reply::Reply;

/// A websocket that a client or an agent has opened.
pub(crate) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// The path of data channels, up to the session's id.
pub(crate) const DATA_CHANNEL: &str = "/v1/data-channel/";

/// Returns the address that a session's client is to connect to.
pub(crate) fn data_channel_url(gateway: SocketAddr, session_id: &str) -> String {
    format!("ws://{gateway}{DATA_CHANNEL}{session_id}?role=publish_subscribe")
}

/// Accepts an upgrade and calls `carry` to start the task that carries it, or returns the refusal.
pub(crate) fn agree(headers: &HeaderMap, carry: impl FnOnce()) -> Reply {
    let accept = headers.get(SEC_WEBSOCKET_KEY).map(|key| derive_accept_key(key.as_bytes()));
    let Some(accept) = accept.and_then(|accept| HeaderValue::from_str(&accept).ok()) else {
        return Reply::plain(StatusCode::BAD_REQUEST, "not a websocket");
    };
    carry();
    let mut reply = Reply::plain(StatusCode::SWITCHING_PROTOCOLS, "");
    reply.headers.clear();
    reply.headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    reply.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    reply.headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    reply
}

/// The longest message that is read: far more than any client or agent puts in one.
const MOST_READ: usize = 4 << 20;
/// How many bytes may wait for a peer that does not read. Without a limit, the answers to pings pile up; with it, only the
/// answers to the latest pings wait, and a frame that does not fit ends the connection.
const MOST_UNWRITTEN: usize = 1 << 20;

/// Returns the limits that no peer may exceed.
pub(crate) fn limits() -> WebSocketConfig {
    WebSocketConfig::default()
        .max_message_size(Some(MOST_READ))
        .max_frame_size(Some(MOST_READ))
        .max_write_buffer_size(MOST_UNWRITTEN)
}

/// Returns the websocket once the answer is out; absent when the client went away.
pub(crate) async fn open(upgrade: hyper::upgrade::OnUpgrade) -> Option<Socket> {
    let upgraded = upgrade.await.ok()?;
    Some(WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(limits())).await)
}
