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

/// What an action comes to.
pub(crate) enum Outcome {
    Done(Value),
    Failed(&'static str),
    Unsupported,
}

/// Returns what a port session answers.
pub(crate) fn answer(payload: &[u8]) -> Result<Answer, Error> {
    let request = parse(payload)?;
    let response = respond(&request, |action| {
        let supported = action.action_type == "SessionType" && is_port_forwarding(&action.action_parameters);
        if supported { Outcome::Done(Value::Null) } else { Outcome::Unsupported }
    });
    let agent = match (request.agent_version.parse::<Version>(), refused(&response)) {
        (_, Some(error)) => Err(error),
        (Ok(version), None) if version > LAST_WITHOUT_MUX => Ok(version),
        _ => Err(Error::AgentTooOld { version: request.agent_version, limit: LAST_WITHOUT_MUX }),
    };
    Ok(Answer { response, agent })
}

pub(crate) fn parse(payload: &[u8]) -> Result<HandshakeRequest, Error> {
    HandshakeRequest::parse(payload).map_err(|error| Error::Handshake(Arc::new(error)))
}

/// Returns the answer to every action asked for.
pub(crate) fn respond(
    request: &HandshakeRequest,
    outcome: impl Fn(&RequestedAction) -> Outcome,
) -> HandshakeResponse {
    let processed = request.requested_client_actions.iter().map(|action| {
        let (action_status, action_result, error) = match outcome(action) {
            Outcome::Done(result) => (ActionStatus::Success, result, String::new()),
            Outcome::Failed(error) => (ActionStatus::Failed, Value::Null, error.to_owned()),
            Outcome::Unsupported => {
                let error = format!("Unsupported action {}", action.action_type);
                (ActionStatus::Unsupported, Value::Null, error)
            }
        };
        let action_type = action.action_type.clone();
        ProcessedAction { action_type, action_status, action_result, error }
    });
    HandshakeResponse {
        client_version: CLIENT_VERSION.to_owned(),
        processed_client_actions: processed.collect(),
        errors: None,
    }
}

/// Returns why the session cannot go on after this answer, if it cannot.
pub(crate) fn refused(response: &HandshakeResponse) -> Option<Error> {
    let mut actions = response.processed_client_actions.iter();
    let refused = actions.find(|action| action.action_status != ActionStatus::Success)?;
    Some(Error::Unsupported { action: refused.action_type.clone() })
}

pub(crate) fn wants_keep_alive(agent: Version) -> bool {
    agent <= LAST_WITH_KEEP_ALIVE
}

fn is_port_forwarding(parameters: &Value) -> bool {
    parameters["SessionType"] == "Port" && parameters["Properties"]["type"] == "LocalPortForwarding"
}
