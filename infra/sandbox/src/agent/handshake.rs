//! What agents and clients agree on before a session begins.

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::Instant;
use tunnel::{
    ActionStatus, HandshakeComplete, HandshakeRequest, HandshakeResponse, KmsRequest, RequestedAction,
};

use super::link::Over;
use super::options::AgentOptions;

/// Returns the request for a type of session, and for encryption if there is a key for that.
pub(super) fn request(
    options: &AgentOptions,
    session_type: &str,
    properties: Value,
    encryption: Option<&KmsRequest>,
) -> Bytes {
    let action = |action_type: &str, action_parameters| RequestedAction {
        action_type: action_type.to_owned(),
        action_parameters,
    };
    let session = action("SessionType", json!({"SessionType": session_type, "Properties": properties}));
    let encryption = encryption.map(|kms| action("KMSEncryption", json!(kms)));
    HandshakeRequest {
        agent_version: options.version.clone(),
        requested_client_actions: [Some(session), encryption].into_iter().flatten().collect(),
    }
    .to_payload()
}

/// Returns the client's answer, if it agrees to everything.
pub(super) fn accepted(payload: &[u8]) -> Result<HandshakeResponse, Over> {
    let response = HandshakeResponse::parse(payload).map_err(|_| Over)?;
    let actions = &response.processed_client_actions;
    if actions.is_empty() || actions.iter().any(|action| action.action_status != ActionStatus::Success) {
        return Err(Over);
    }
    Ok(response)
}

/// Returns the end of a handshake that began then.
pub(super) fn complete(since: Instant, customer_message: &str) -> Bytes {
    HandshakeComplete {
        handshake_time_to_complete: i64::try_from(since.elapsed().as_nanos()).unwrap_or(i64::MAX),
        customer_message: customer_message.to_owned(),
    }
    .to_payload()
}
