//! Which calls are ours, and which are passed on as they are.

use std::sync::Arc;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::CONTENT_TYPE;

use super::database::Password;
use super::reply::Reply;
use super::request::{Protocol, Request};
use super::state::State;
use super::xml::all;
use super::{Error, cbor, denial, ec2, instance, rds, sns, ssm};

/// Answers a call.
pub(crate) async fn answer(state: &Arc<State>, request: &Request) -> Reply {
    match attempt(state, request).await {
        Ok(reply) => reply,
        Err(error) => Reply::refuse(request.protocol(), 500, "InternalFailure", &super::chain(&error)),
    }
}

async fn attempt(state: &Arc<State>, request: &Request) -> Result<Reply, Error> {
    let operation = request.operation.as_deref().unwrap_or_default();
    let ours = match (request.service(), operation) {
        ("ssm", _) => ssm::answer(state, request).await?,
        ("ec2", _) => ec2::answer(state, request).await?,
        ("rds", _) => rds::answer(state, request).await?,
        ("sns", _) => sns::answer(state, request).await?,
        ("monitoring", _) if request.protocol() == Protocol::Cbor => Some(cbor::pass(state, request).await?),
        ("iam", "CreateInstanceProfile") => Some(instance::create_profile(state, request).await?),
        ("iam", "ListInstanceProfiles") => Some(instance::list_profiles(state, request).await?),
        ("iam", "SimulatePrincipalPolicy") => Some(denial::simulate(&state.denials, request)),
        ("sts", "AssumeRole" | "GetSessionToken" | "GetFederationToken") | ("iam", "CreateAccessKey") => {
            Some(give_credentials(state, request).await?)
        }
        ("secretsmanager", "GetSecretValue") => Some(get_secret_value(state, request).await?),
        _ => None,
    };
    match ours {
        Some(reply) => Ok(reply),
        None => forward(state, request).await,
    }
}

/// Passes a request on. What moto cannot do comes back as a page of HTML with status 500, which clients try
/// again for nothing; they are told so instead.
pub(crate) async fn forward(state: &State, request: &Request) -> Result<Reply, Error> {
    let reply = state.upstream.forward(request).await?;
    let html = reply.headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if reply.status == StatusCode::INTERNAL_SERVER_ERROR && html {
        let operation = request.operation.as_deref().unwrap_or("this");
        let program = state.upstream.program(request.service());
        let message = format!("{program} failed at {operation}, or does not have it");
        return Ok(Reply::refuse(request.protocol(), 501, "NotImplemented", &message));
    }
    Ok(reply)
}

/// Whoever is given credentials may sign with them.
async fn give_credentials(state: &State, request: &Request) -> Result<Reply, Error> {
    let reply = forward(state, request).await?;
    let text = reply.text();
    if let Ok(document) = roxmltree::Document::parse(&text) {
        let find = |name| all(&document, name).first().and_then(|node| node.text()).map(str::to_owned);
        if let (Some(id), Some(secret)) = (find("AccessKeyId"), find("SecretAccessKey")) {
            state.signers.give(id, Password::new(secret));
        }
    }
    Ok(reply)
}

/// AWS reads AWSCURRENT unless told otherwise; moto reads the latest version, whatever its stage.
async fn get_secret_value(state: &State, request: &Request) -> Result<Reply, Error> {
    let mut body = request.json();
    if body["VersionStage"].is_null() && body["VersionId"].is_null() && body.is_object() {
        body["VersionStage"] = "AWSCURRENT".into();
        let staged = Request { body: Bytes::from(body.to_string()), ..request.clone() };
        return forward(state, &staged).await;
    }
    forward(state, request).await
}
