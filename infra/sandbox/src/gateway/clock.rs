//! The clock of the service, which may differ from this machine's. It decides whether a signature has expired.

use hyper::StatusCode;
use hyper::header::{DATE, HeaderMap, HeaderValue};
use jiff::fmt::rfc2822;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::gateway::state::State;
use crate::gateway::wire::reply::Reply;
use crate::gateway::wire::request::Protocol;

/// How far a signature's time may be from the service's.
const TOLERATED: SignedDuration = SignedDuration::from_mins(5);

/// Returns the refusal of a request that was signed too long ago, or in the future.
pub(crate) fn refusal(state: &State, headers: &HeaderMap, protocol: Protocol) -> Option<Reply> {
    let signed = headers.get("x-amz-date")?.to_str().ok()?;
    let signed = strtime::parse("%Y%m%dT%H%M%SZ", signed).ok()?.to_datetime().ok()?;
    let signed = signed.to_zoned(TimeZone::UTC).ok()?.timestamp();
    let now = now(state);
    if now.duration_since(signed).abs() <= TOLERATED {
        return None;
    }
    let message = format!("Signature expired: {signed} is more than 5 min away from {now}");
    let (status, code) = match protocol {
        Protocol::Ec2 => (401, "AuthFailure"),
        Protocol::Query => (403, "SignatureDoesNotMatch"),
        Protocol::Json | Protocol::Cbor => (400, "InvalidSignatureException"),
    };
    Some(Reply::refuse(protocol, status, code, &message))
}

/// As [`refusal`], for a websocket, whose refusal has no body of AWS's.
pub(crate) fn refusal_of_upgrade(state: &State, headers: &HeaderMap) -> Option<Reply> {
    let refused = refusal(state, headers, Protocol::Json)?;
    drop(refused);
    Some(Reply::plain(StatusCode::FORBIDDEN, "the signature is from another time"))
}

/// Writes the service's time into an answer.
pub(crate) fn stamp(state: &State, reply: &mut Reply) {
    if is_ours(state) {
        return;
    }
    let date = rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&now(state)).ok();
    if let Some(date) = date.and_then(|date| HeaderValue::from_str(&date).ok()) {
        reply.headers.insert(DATE, date);
    }
}

fn is_ours(state: &State) -> bool {
    state.options.clock_ahead.is_zero()
}

fn now(state: &State) -> Timestamp {
    Timestamp::now().saturating_add(state.options.clock_ahead).unwrap_or(Timestamp::MAX)
}
