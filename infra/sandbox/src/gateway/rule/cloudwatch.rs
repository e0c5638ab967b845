//! CloudWatch, whose clients speak CBOR, in front of programs that speak JSON.

use bytes::Bytes;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use serde_json::{Map, Value};

use crate::gateway::Error;
use crate::gateway::upstream::Upstream;
use crate::gateway::wire::cbor::{HEADER, MEDIA, decoded, encoded, headers_of};
use crate::gateway::wire::reply::Reply;
use crate::gateway::wire::request::{Protocol, Request};

/// The prefix of the target that the same call has in JSON.
const TARGET: &str = "GraniteServiceVersion20100801";

/// Answers calls in CBOR.
pub(crate) async fn answer(upstream: &Upstream, request: &Request) -> Result<Option<Reply>, Error> {
    match request.protocol() {
        Protocol::Cbor => pass(upstream, request).await.map(Some),
        Protocol::Ec2 | Protocol::Query | Protocol::Json => Ok(None),
    }
}

/// Passes a call of CloudWatch on as JSON, and its answer back as CBOR.
async fn pass(upstream: &Upstream, request: &Request) -> Result<Reply, Error> {
    let Some(body) = decoded(&request.body) else {
        let message = "the body is not CBOR";
        return Ok(Reply::refuse(request.protocol(), 400, "SerializationException", message));
    };
    let operation = request.operation.clone().unwrap_or_default();
    let mut headers = request.headers.clone();
    for name in [HEADER.0, ACCEPT.as_str()] {
        headers.remove(name);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
    if let Ok(target) = HeaderValue::from_str(&format!("{TARGET}.{operation}")) {
        headers.insert("x-amz-target", target);
    }
    let uri = hyper::Uri::from_static("/");
    let asked = Request { uri, headers, body: Bytes::from(body.to_string()), ..request.clone() };
    let reply = upstream.forward(&asked).await?;
    // A refusal by the gateway is in CBOR already.
    if reply.headers.get(CONTENT_TYPE).is_some_and(|kind| kind == MEDIA) {
        return Ok(reply);
    }
    let answer = serde_json::from_slice(&reply.body).unwrap_or_else(|_| Value::Object(Map::new()));
    Ok(Reply { body: encoded(&answer), headers: headers_of(reply.headers), ..reply })
}
