//! Refusals in the words of RDS.

use crate::gateway::wire::reply::Reply;
use crate::gateway::wire::request::Protocol;

/// Refuses a call.
pub(super) fn refuse(code: &str, message: &str) -> Reply {
    Reply::refuse(Protocol::Query, 400, code, message)
}
