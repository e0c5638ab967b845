//! What the gateway answers itself: one file for each service, and here the list of them.
//!
//! For a new service, add its file and its line in [`answer`].

mod cloudwatch;
mod ec2;
mod iam;
mod rds;
mod registration;
mod secretsmanager;
mod sns;
mod ssm;
mod sts;

use std::sync::Arc;

use super::Error;
use super::state::State;
use super::wire::reply::Reply;
use super::wire::request::Request;

/// Answers a call by the rule of its service; absent when the call is to be passed on as it is.
pub(crate) async fn answer(state: &Arc<State>, request: &Request) -> Result<Option<Reply>, Error> {
    match request.service() {
        "ec2" => ec2::answer(state, request).await,
        "iam" => iam::answer(state, request).await,
        "monitoring" => cloudwatch::answer(&state.upstream, request).await,
        "rds" => rds::answer(state, request).await,
        "secretsmanager" => secretsmanager::answer(&state.upstream, request).await,
        "sns" => sns::answer(&state.upstream, &state.confirmed, request).await,
        "ssm" => ssm::answer(state, request).await,
        "sts" => sts::answer(&state.upstream, &state.signers, request).await,
        _ => Ok(None),
    }
}
