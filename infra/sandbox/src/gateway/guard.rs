//! Which requests are answered at all: those of programs with the key, and none of a page in a browser.

use hyper::header::{HOST, HeaderMap, ORIGIN};
use hyper::{StatusCode, Uri};

use crate::gateway::state::State;
use crate::gateway::wire::reply::Reply;
use crate::gateway::wire::request::Protocol;
use crate::gateway::wire::signature::{Canonical, Claim, Refused};

/// Refuses requests from pages in a browser, and requests for another host.
///
/// A page that has its name lead to this machine is same-origin with us, but its `Host` is still its own; a page that posts
/// without asking (`no-cors`) says its `Origin`, and what it only loads has `Sec-Fetch-Site`. Programs send none of these.
pub(crate) fn refusal(state: &State, uri: &Uri, headers: &HeaderMap) -> Option<Reply> {
    let mut hosts = headers.get_all(HOST).iter().map(|host| host.to_str().unwrap_or_default());
    let is_ours = |host: Option<&str>| host.is_some_and(|host| state.hosts.has(host));
    let named = uri.authority().is_none_or(|named| state.hosts.has(named.as_str()));
    if !is_ours(hosts.next()) || hosts.next().is_some() || !named {
        let text = "this gateway is not called by that host; use the endpoint that `sandbox status` tells";
        return Some(Reply::plain(StatusCode::MISDIRECTED_REQUEST, text));
    }
    if headers.contains_key(ORIGIN) || headers.contains_key("sec-fetch-site") {
        return Some(Reply::plain(StatusCode::FORBIDDEN, "no page of a browser is answered"));
    }
    None
}

/// Returns the claim in a request's signature, or the refusal. The body is not needed for that.
pub(crate) fn claim(state: &State, headers: &HeaderMap) -> Result<Claim, Box<Reply>> {
    let protocol = Protocol::of_headers(headers);
    match Claim::find(headers) {
        Some(claim) if state.signers.knows(&claim) => Ok(claim),
        Some(_) => Err(Box::new(refuse(protocol, Refused::Unknown))),
        None => {
            let (code, message) = match protocol {
                Protocol::Ec2 | Protocol::Query => ("MissingAuthenticationToken", NOT_SIGNED),
                Protocol::Json | Protocol::Cbor => ("MissingAuthenticationTokenException", NOT_SIGNED),
            };
            Err(Box::new(Reply::refuse(protocol, 403, code, message)))
        }
    }
}

const NOT_SIGNED: &str = "Request is missing Authentication Token: it is not signed";

/// Returns the refusal of a request whose signature does not match.
pub(crate) fn unproven(
    state: &State,
    claim: &Claim,
    request: &Canonical<'_>,
    protocol: Protocol,
) -> Option<Reply> {
    state.signers.verify(claim, request).err().map(|refused| refuse(protocol, refused))
}

fn refuse(protocol: Protocol, refused: Refused) -> Reply {
    let (status, code) = match (refused, protocol) {
        (Refused::Unknown, Protocol::Ec2) => (401, "AuthFailure"),
        (Refused::Unknown, Protocol::Query) => (403, "InvalidClientTokenId"),
        (Refused::Unknown, Protocol::Json | Protocol::Cbor) => (400, "UnrecognizedClientException"),
        (Refused::Mismatch, Protocol::Ec2 | Protocol::Query) => (403, "SignatureDoesNotMatch"),
        (Refused::Mismatch, Protocol::Json | Protocol::Cbor) => (400, "InvalidSignatureException"),
    };
    let message = match refused {
        Refused::Unknown => {
            "the access key is not this sandbox's: use `--sandbox`, or eval \"$(cargo xtask sandbox env)\""
        }
        Refused::Mismatch => {
            "The request signature we calculated does not match the signature you provided. Check your key and signing method."
        }
    };
    Reply::refuse(protocol, status, code, message)
}
