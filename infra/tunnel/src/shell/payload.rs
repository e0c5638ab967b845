//! What the payloads of shells hold.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::json;

/// The size of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// How many characters fit in a line.
    pub cols: u32,
    /// How many lines there are.
    pub rows: u32,
}

/// What `KMSEncryption` asks of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KmsRequest {
    /// The key that the data key is to be made with.
    #[serde(rename = "KMSKeyId")]
    pub key_id: String,
    /// Random text of the agent's for the context of the data key; agents before 3.3.808 have none.
    #[serde(rename = "Challenge", default, deserialize_with = "json::null_as_default")]
    pub challenge: String,
}

/// The result of `KMSEncryption`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KmsResponse {
    /// The data key as only KMS can read it.
    #[serde(rename = "KMSCipherTextKey", with = "json::base64_text")]
    pub ciphertext_key: Bytes,
    /// The challenge is in the context of the data key.
    #[serde(rename = "ChallengeAcknowledgement", default)]
    pub challenge_acknowledgement: bool,
}

/// Random bytes, encrypted: by the agent for the client to read, and by the client to show that it could.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncryptionChallenge {
    /// The encrypted bytes.
    #[serde(rename = "Challenge", with = "json::base64_text")]
    pub challenge: Bytes,
}

json::payloads!(TerminalSize, EncryptionChallenge);

const EXIT_CODE: &str = "EXIT_CODE: ";

/// Returns the payload that tells a command's exit code.
pub fn render_exit_code(code: i32) -> Bytes {
    format!("{EXIT_CODE}{code}").into()
}

/// Returns the exit code that a payload tells; -1 stands for a command that a signal ended.
pub fn parse_exit_code(payload: &[u8]) -> Option<i32> {
    std::str::from_utf8(payload).ok()?.trim().strip_prefix(EXIT_CODE)?.parse().ok()
}
