//! What the client answers to the agent's first message.

use std::sync::Arc;

use serde_json::Value;

use crate::error::Error;
use crate::payload::{ActionStatus, HandshakeRequest, HandshakeResponse, ProcessedAction, RequestedAction};
use crate::version::Version;

/// What this client says it is: agents from here on multiplex and leave out smux keep-alives.
pub(crate) const CLIENT_VERSION: &str = "1.2.764.0";
/// Agents up to this one carry a single connection per session.
const LAST_WITHOUT_MUX: Version = Version::new(3, 0, 196, 0);
/// Agents up to this one end a session whose client sends no smux keep-alives.
const LAST_WITH_KEEP_ALIVE: Version = Version::new(3, 1, 1511, 0);

/// The answer, and what follows for the client.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) response: HandshakeResponse,
    /// The agent's version, or why the session cannot go on once the answer is sent.
    pub(crate) agent: Result<Version, Error>,
}

pub(crate) fn answer(payload: &[u8]) -> Result<Answer, Error> {
    let request = HandshakeRequest::parse(payload).map_err(|error| Error::Handshake(Arc::new(error)))?;
    let actions: Vec<_> = request.requested_client_actions.iter().map(process).collect();
    let refused = actions.iter().find(|action| action.action_status != ActionStatus::Success);
    let agent = match (request.agent_version.parse::<Version>(), refused) {
        (_, Some(action)) => Err(Error::Unsupported { action: action.action_type.clone() }),
        (Ok(version), None) if version > LAST_WITHOUT_MUX => Ok(version),
        _ => Err(Error::AgentTooOld { version: request.agent_version, limit: LAST_WITHOUT_MUX }),
    };
    let response = HandshakeResponse {
        client_version: CLIENT_VERSION.to_owned(),
        processed_client_actions: actions,
        errors: None,
    };
    Ok(Answer { response, agent })
}

pub(crate) fn wants_keep_alive(agent: Version) -> bool {
    agent <= LAST_WITH_KEEP_ALIVE
}

fn process(action: &RequestedAction) -> ProcessedAction {
    let supported = action.action_type == "SessionType" && is_port_forwarding(&action.action_parameters);
    let (action_status, error) = if supported {
        (ActionStatus::Success, String::new())
    } else {
        (ActionStatus::Unsupported, format!("Unsupported action {}", action.action_type))
    };
    let action_type = action.action_type.clone();
    ProcessedAction { action_type, action_status, action_result: Value::Null, error }
}

fn is_port_forwarding(parameters: &Value) -> bool {
    parameters["SessionType"] == "Port" && parameters["Properties"]["type"] == "LocalPortForwarding"
}
