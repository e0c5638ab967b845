//! What the payloads hold: JSON, but for the flag.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;
use zeroize::Zeroize as _;

use crate::json;

/// The token of a session: whoever has it is the client. `Debug` shows `***`, and its memory is overwritten when it is dropped.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    /// Takes ownership of a clear token.
    pub fn new(clear: impl Into<String>) -> Token {
        Token(clear.into())
    }

    /// Returns the clear token.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The first frame of every connection, sent as text. It has no reply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct OpenDataChannel {
    /// `1.0`
    pub message_schema_version: String,
    /// New for each connection.
    #[serde(with = "json::uuid_text")]
    pub request_id: Uuid,
    /// The token of the session.
    pub token_value: Token,
    /// The same for all connections of a client.
    #[serde(with = "json::uuid_text")]
    pub client_id: Uuid,
    /// Four parts; agents choose what they offer by it.
    pub client_version: String,
}

/// The receipt of one data message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledge {
    /// The type of the message received.
    #[serde(rename = "AcknowledgedMessageType")]
    pub message_type: String,
    /// Its id.
    #[serde(rename = "AcknowledgedMessageId", with = "json::uuid_text")]
    pub message_id: Uuid,
    /// Its sequence number, by which the sender finds it.
    #[serde(rename = "AcknowledgedMessageSequenceNumber")]
    pub sequence: i64,
    /// Always true.
    #[serde(rename = "IsSequentialMessage", default)]
    pub is_sequential: bool,
}

/// The agent's first message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HandshakeRequest {
    /// Four parts.
    pub agent_version: String,
    /// What the client must agree to.
    #[serde(default, deserialize_with = "json::null_as_default")]
    pub requested_client_actions: Vec<RequestedAction>,
}

/// One thing that the client must agree to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RequestedAction {
    /// `SessionType` or `KMSEncryption`.
    pub action_type: String,
    /// For `SessionType`: `{"SessionType": "Port", "Properties": {"type": "LocalPortForwarding", ..}}`.
    #[serde(default)]
    pub action_parameters: Value,
}

/// The client's first message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HandshakeResponse {
    /// Four parts.
    pub client_version: String,
    /// One answer for each action asked for.
    #[serde(default, deserialize_with = "json::null_as_default")]
    pub processed_client_actions: Vec<ProcessedAction>,
    /// `null` when there are none.
    pub errors: Option<Vec<String>>,
}

/// The answer to one action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ProcessedAction {
    /// The action's type.
    pub action_type: String,
    /// How it went.
    pub action_status: ActionStatus,
    /// What came of it; `null` for a session type.
    #[serde(default)]
    pub action_result: Value,
    /// Why not; empty when all is well.
    #[serde(default)]
    pub error: String,
}

/// How an action went; anything but success makes the agent give up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "u8", into = "u8")]
pub enum ActionStatus {
    /// 1
    Success,
    /// 2
    Failed,
    /// 3, and every number not known.
    Unsupported,
}

impl From<u8> for ActionStatus {
    fn from(number: u8) -> ActionStatus {
        match number {
            1 => ActionStatus::Success,
            2 => ActionStatus::Failed,
            _ => ActionStatus::Unsupported,
        }
    }
}

impl From<ActionStatus> for u8 {
    fn from(status: ActionStatus) -> u8 {
        match status {
            ActionStatus::Success => 1,
            ActionStatus::Failed => 2,
            ActionStatus::Unsupported => 3,
        }
    }
}

/// The agent is ready for data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HandshakeComplete {
    /// In nanoseconds.
    pub handshake_time_to_complete: i64,
    /// A text of the account's administrator for the user; often empty.
    #[serde(deserialize_with = "json::null_as_default")]
    pub customer_message: String,
}

/// The session is over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ChannelClosed {
    /// The id of this message, as text.
    pub message_id: String,
    /// When it was made.
    pub created_date: String,
    /// To whom.
    pub destination_id: String,
    /// The session.
    pub session_id: String,
    /// `channel_closed`
    pub message_type: String,
    /// 1
    pub schema_version: i64,
    /// Why, in words for the user; often empty.
    pub output: String,
}

/// A signal outside the bytes of the session; four bytes, big endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// 1: the client's local connection is gone (sessions without mux).
    DisconnectToPort,
    /// 2: the client ends the session.
    TerminateSession,
    /// 3: the agent could not connect to the target.
    ConnectToPortError,
    /// A flag that this client does not know.
    Unknown(u32),
}

impl Flag {
    /// Returns the flag in a payload of four bytes.
    pub fn parse(payload: &[u8]) -> Option<Flag> {
        Some(match u32::from_be_bytes(payload.try_into().ok()?) {
            1 => Flag::DisconnectToPort,
            2 => Flag::TerminateSession,
            3 => Flag::ConnectToPortError,
            other => Flag::Unknown(other),
        })
    }

    /// Returns the payload.
    pub fn to_payload(self) -> Bytes {
        let number: u32 = match self {
            Flag::DisconnectToPort => 1,
            Flag::TerminateSession => 2,
            Flag::ConnectToPortError => 3,
            Flag::Unknown(other) => other,
        };
        Bytes::copy_from_slice(&number.to_be_bytes())
    }
}

json::payloads!(
    OpenDataChannel,
    Acknowledge,
    HandshakeRequest,
    HandshakeResponse,
    HandshakeComplete,
    ChannelClosed
);
