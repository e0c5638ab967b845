//! The data channel: a websocket whose first frame carries the session's token, then frames both ways.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use hyper::header::{AUTHORIZATION, HeaderMap};
use hyper::{StatusCode, Uri};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message as Frame};
use tunnel::OpenDataChannel;

use crate::gateway::clock;
use crate::gateway::memory::sessions::{Attached, Disconnect};
use crate::gateway::options::Signatures;
use crate::gateway::state::State;
use crate::gateway::wire::reply::Reply;
use crate::gateway::wire::signature::{Canonical, Claim};
use crate::gateway::wire::websocket::{self, DATA_CHANNEL};

/// Returns the refusal of an upgrade whose signature is bad. An unsigned upgrade is allowed where signatures are optional, for
/// older clients: the session's token is checked next.
pub(crate) fn refusal<B>(state: &State, request: &hyper::Request<B>) -> Option<Reply> {
    let forbidden = |text: &str| Some(Reply::plain(StatusCode::FORBIDDEN, text));
    let headers = request.headers();
    let Some(claim) = Claim::find(headers) else {
        let is_signed = headers.contains_key(AUTHORIZATION);
        return match state.options.signatures {
            Signatures::Optional if !is_signed => None,
            Signatures::Optional | Signatures::Required => {
                forbidden("the upgrade is not signed for ssmmessages")
            }
        };
    };
    if claim.scope.service != "ssmmessages" {
        return forbidden("the upgrade is not signed for ssmmessages");
    }
    let (method, uri) = (request.method(), request.uri());
    let signed = Canonical { method, uri, headers, body: &Bytes::new() };
    if state.signers.verify(&claim, &signed).is_err() {
        return forbidden("the upgrade is not signed with the gateway's key");
    }
    clock::refusal_of_upgrade(state, headers)
}

/// Answers the upgrade; the session is carried by a task of its own.
pub(crate) fn open(
    state: &Arc<State>,
    uri: &Uri,
    headers: &HeaderMap,
    upgrade: hyper::upgrade::OnUpgrade,
) -> Reply {
    let session_id = uri.path().trim_start_matches(DATA_CHANNEL).to_owned();
    websocket::agree(headers, || state.tasks.spawn(carry(Arc::clone(state), session_id, upgrade)))
}

async fn carry(state: Arc<State>, session_id: String, upgrade: hyper::upgrade::OnUpgrade) {
    let Some(mut socket) = websocket::open(upgrade).await else { return };
    let Some(Ok(Frame::Text(open))) = socket.next().await else { return };
    let attached = serde_json::from_str::<OpenDataChannel>(open.as_str())
        .ok()
        .and_then(|open| state.sessions.attach(&session_id, open.token_value.expose()));
    let Some(Attached { to_agent, mut to_client, disconnect }) = attached else {
        let refusal = CloseFrame { code: CloseCode::Policy, reason: "the token is not valid".into() };
        drop(socket.close(Some(refusal)).await);
        return;
    };
    let (mut write, mut read) = socket.split();
    // The directions do not wait for each other: a target that stops reading must not stop the replies.
    let upwards = async {
        while let Some(Ok(frame)) = read.next().await {
            let frame = match frame {
                Frame::Binary(bytes) => bytes,
                Frame::Text(text) => Bytes::from(text),
                Frame::Ping(_) | Frame::Pong(_) | Frame::Frame(_) => continue,
                Frame::Close(_) => break,
            };
            if to_agent.send(frame).await.is_err() {
                // The session has ended; its last frame is on the way down.
                std::future::pending::<()>().await;
            }
        }
    };
    let downwards = async {
        while let Some(frame) = to_client.recv().await {
            if write.send(Frame::Binary(frame)).await.is_err() {
                return;
            }
        }
        if disconnect.await == Ok(Disconnect::Silent) {
            return;
        }
        let bye = CloseFrame { code: CloseCode::Normal, reason: "Bye".into() };
        drop(write.send(Frame::Close(Some(bye))).await);
    };
    tokio::select! {
        () = upwards => (),
        () = downwards => (),
    }
}
