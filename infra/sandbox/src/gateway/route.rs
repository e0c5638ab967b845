//! Which calls a rule answers, and which are passed on as they are.

use std::sync::Arc;

use super::error::{Error, chain};
use super::rule;
use super::state::State;
use super::wire::reply::Reply;
use super::wire::request::Request;

/// Answers a call.
pub(crate) async fn answer(state: &Arc<State>, request: &Request) -> Reply {
    match attempt(state, request).await {
        Ok(reply) => reply,
        Err(error) => Reply::refuse(request.protocol(), 500, "InternalFailure", &chain(&error)),
    }
}

async fn attempt(state: &Arc<State>, request: &Request) -> Result<Reply, Error> {
    match rule::answer(state, request).await? {
        Some(reply) => Ok(reply),
        None => state.upstream.forward(request).await,
    }
}
