//! The handshake of a shell: what the agent asks for, and the data key that its encryption needs.

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use super::{Action, Channel, KeyRequest, Phase};
use crate::cipher::{Cipher, DataKey, Side};
use crate::control::ControlError;
use crate::error::Error;
use crate::handshake::{self, Outcome};
use crate::message::PayloadType;
use crate::payload::{HandshakeRequest, RequestedAction};
use crate::shell::payload::{KmsRequest, KmsResponse};
use crate::version::Version;

const SESSION_TYPE: &str = "SessionType";
const KMS_ENCRYPTION: &str = "KMSEncryption";
/// What stands in for a version that cannot be read: shells do not depend on it.
const UNKNOWN: Version = Version::new(0, 0, 0, 0);

impl Channel {
    /// Takes the data key, or why there is none.
    pub(crate) fn on_data_key(&mut self, key: Result<DataKey, ControlError>, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        if !matches!(self.phase, Phase::Keyless { .. }) {
            return actions;
        }
        let Phase::Keyless { request, kms } = std::mem::replace(&mut self.phase, Phase::Quiet) else {
            return actions;
        };
        match key {
            Ok(key) => {
                let response = KmsResponse {
                    ciphertext_key: key.ciphertext().clone(),
                    challenge_acknowledgement: !kms.challenge.is_empty(),
                };
                self.cipher = Some(Cipher::new(&key, Side::Client));
                let encryption = || Outcome::Done(json!(response));
                if let Err(error) = self.answer(&request, encryption, now, &mut actions) {
                    self.close(error, &mut actions);
                }
            }
            Err(source) => {
                // The agent is told too: it would wait for 15 seconds.
                let encryption = || Outcome::Failed("the client got no data key");
                drop(self.answer(&request, encryption, now, &mut actions));
                let error = Error::Control { action: "encrypt", source: Arc::from(source) };
                self.close(error, &mut actions);
            }
        }
        actions
    }

    pub(super) fn on_request(
        &mut self,
        payload: &[u8],
        now: Instant,
        actions: &mut Vec<Action>,
    ) -> Result<(), Error> {
        let request = handshake::parse(payload)?;
        let encryption =
            request.requested_client_actions.iter().find(|one| one.action_type == KMS_ENCRYPTION);
        let Some(encryption) = encryption else {
            return self.answer(&request, || Outcome::Unsupported, now, actions);
        };
        let kms: KmsRequest = serde_json::from_value(encryption.action_parameters.clone())
            .map_err(|error| Error::Handshake(Arc::new(error)))?;
        let mut context = vec![
            ("aws:ssm:SessionId".to_owned(), self.session_id.clone()),
            ("aws:ssm:TargetId".to_owned(), self.target.clone()),
        ];
        if !kms.challenge.is_empty() {
            context.push(("aws:ssm:RandomChallenge".to_owned(), kms.challenge.clone()));
        }
        actions.push(Action::GetDataKey(KeyRequest { key_id: kms.key_id.clone(), context }));
        self.phase = Phase::Keyless { request, kms };
        Ok(())
    }

    /// Answers the handshake; an error says that the session cannot go on, though the answer must be sent.
    fn answer(
        &mut self,
        request: &HandshakeRequest,
        encryption: impl Fn() -> Outcome,
        now: Instant,
        actions: &mut Vec<Action>,
    ) -> Result<(), Error> {
        let response = handshake::respond(request, |action| match action.action_type.as_str() {
            SESSION_TYPE if is_shell(action) => Outcome::Done(Value::Null),
            KMS_ENCRYPTION => encryption(),
            _ => Outcome::Unsupported,
        });
        actions.push(self.send(PayloadType::HandshakeResponse, response.to_payload(), now));
        self.phase = Phase::Answered { agent: request.agent_version.parse().unwrap_or(UNKNOWN) };
        handshake::refused(&response).map_or(Ok(()), Err)
    }
}

fn is_shell(action: &RequestedAction) -> bool {
    let kind = action.action_parameters["SessionType"].as_str();
    matches!(kind, Some("Standard_Stream" | "InteractiveCommands" | "NonInteractiveCommands"))
}
