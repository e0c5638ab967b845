//! STS: the gateway accepts the credentials that it gives out.

use crate::gateway::Error;
use crate::gateway::memory::signers::Signers;
use crate::gateway::password::Password;
use crate::gateway::upstream::Upstream;
use crate::gateway::wire::reply::Reply;
use crate::gateway::wire::request::Request;
use crate::gateway::wire::xml::all;

/// Answers the operations that are ours.
pub(crate) async fn answer(
    upstream: &Upstream,
    signers: &Signers,
    request: &Request,
) -> Result<Option<Reply>, Error> {
    match request.operation.as_deref() {
        Some("AssumeRole" | "GetSessionToken" | "GetFederationToken") => {
            give_credentials(upstream, signers, request).await.map(Some)
        }
        _ => Ok(None),
    }
}

/// Passes the request on, and accepts signatures with the credentials in the answer.
pub(super) async fn give_credentials(
    upstream: &Upstream,
    signers: &Signers,
    request: &Request,
) -> Result<Reply, Error> {
    let reply = upstream.forward(request).await?;
    let text = reply.text();
    if let Ok(document) = roxmltree::Document::parse(&text) {
        let find = |name| all(&document, name).first().and_then(|node| node.text()).map(str::to_owned);
        if let (Some(id), Some(secret)) = (find("AccessKeyId"), find("SecretAccessKey")) {
            signers.give(id, Password::new(secret));
        }
    }
    Ok(reply)
}
