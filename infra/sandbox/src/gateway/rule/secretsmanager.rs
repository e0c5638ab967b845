//! Secrets Manager: moto ignores the stage when it reads a secret.

use bytes::Bytes;

use crate::gateway::Error;
use crate::gateway::upstream::Upstream;
use crate::gateway::wire::reply::Reply;
use crate::gateway::wire::request::Request;

/// Answers the operations that are ours.
pub(crate) async fn answer(upstream: &Upstream, request: &Request) -> Result<Option<Reply>, Error> {
    match request.operation.as_deref() {
        Some("GetSecretValue") => get_secret_value(upstream, request).await.map(Some),
        _ => Ok(None),
    }
}

/// Reads AWSCURRENT unless the request names a version, as AWS does. moto reads the latest version, whatever its stage.
async fn get_secret_value(upstream: &Upstream, request: &Request) -> Result<Reply, Error> {
    let mut body = request.json();
    if body["VersionStage"].is_null() && body["VersionId"].is_null() && body.is_object() {
        body["VersionStage"] = "AWSCURRENT".into();
        let staged = Request { body: Bytes::from(body.to_string()), ..request.clone() };
        return upstream.forward(&staged).await;
    }
    upstream.forward(request).await
}
