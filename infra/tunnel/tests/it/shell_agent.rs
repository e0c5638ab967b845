//! What an agent says in shells: a terminal that shows what is typed, or a command.

use bytes::Bytes;
use serde_json::json;
use sha2::{Digest, Sha256};
use tunnel::{
    ActionStatus, Cipher, DataKey, EncryptionChallenge, HandshakeComplete, HandshakeRequest,
    HandshakeResponse, KmsResponse, Message, PayloadType, RequestedAction, Side, TerminalSize,
    render_exit_code,
};

/// How the shell begins and goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShellScript {
    pub(crate) kind: Kind,
    pub(crate) encryption: Option<Encryption>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A prompt; then what is typed comes back, and sizes are told. `exit` ends it.
    Terminal,
    /// `out` and `err`, and an exit code of 7, after the handshake.
    Command,
    /// Asks for a port session.
    Confused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Encryption {
    pub(crate) key_id: &'static str,
    /// What the data key's context has to name.
    pub(crate) challenge: &'static str,
    pub(crate) flaw: Option<Flaw>,
}

/// What is wrong with the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// It has another key.
    OtherKey,
    /// It forgets to encrypt the prompt.
    PlainPrompt,
}

#[derive(Default)]
pub(crate) struct ShellAgent {
    cipher: Option<Cipher>,
    ready: bool,
    ended: bool,
}

const CHALLENGE: &[u8] = b"sixty-four bytes that only the right key brings back to the agent";
pub(crate) const INSTANCE: &str = "i-1";

type Said = Vec<(PayloadType, Bytes)>;

impl ShellAgent {
    pub(crate) fn start(&mut self, script: ShellScript, agent_version: &str) -> Said {
        if script.kind == Kind::Terminal && script.encryption.is_none() {
            return self.begin(script);
        }
        let action = |action_type: &str, action_parameters| RequestedAction {
            action_type: action_type.to_owned(),
            action_parameters,
        };
        let kind = match script.kind {
            Kind::Terminal => "Standard_Stream",
            Kind::Command => "NonInteractiveCommands",
            Kind::Confused => "Port",
        };
        let mut requested_client_actions =
            vec![action("SessionType", json!({"SessionType": kind, "Properties": null}))];
        if let Some(Encryption { key_id, challenge, .. }) = script.encryption {
            let parameters = if challenge.is_empty() {
                json!({"KMSKeyId": key_id})
            } else {
                json!({"KMSKeyId": key_id, "Challenge": challenge})
            };
            requested_client_actions.push(action("KMSEncryption", parameters));
        }
        let request = HandshakeRequest { agent_version: agent_version.to_owned(), requested_client_actions };
        vec![(PayloadType::HandshakeRequest, request.to_payload())]
    }

    pub(crate) fn on_message(&mut self, script: ShellScript, message: &Message) -> Said {
        match message.payload_type {
            PayloadType::HandshakeResponse => self.on_response(script, &message.payload),
            PayloadType::EncryptionChallengeResponse => {
                let sealed = EncryptionChallenge::parse(&message.payload).unwrap().challenge;
                assert_eq!(self.cipher.as_ref().unwrap().decrypt(&sealed).unwrap(), CHALLENGE);
                self.complete(script)
            }
            PayloadType::Output => {
                assert!(self.ready, "what comes before the end of the handshake is lost");
                let typed = match &self.cipher {
                    Some(cipher) => cipher.decrypt(&message.payload).unwrap(),
                    None => message.payload.clone(),
                };
                self.ended = typed.starts_with(b"exit");
                vec![self.output(&typed)]
            }
            PayloadType::Size => {
                let TerminalSize { cols, rows } = TerminalSize::parse(&message.payload).unwrap();
                vec![self.output(format!("{cols}x{rows}").as_bytes())]
            }
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    fn on_response(&mut self, script: ShellScript, payload: &[u8]) -> Said {
        let actions = HandshakeResponse::parse(payload).unwrap().processed_client_actions;
        if actions.iter().any(|action| action.action_status != ActionStatus::Success) {
            self.ended = true;
            return Vec::new();
        }
        let Some(Encryption { key_id, challenge, flaw }) = script.encryption else {
            return self.complete(script);
        };
        let result: KmsResponse = serde_json::from_value(actions[1].action_result.clone()).unwrap();
        assert_eq!(result.challenge_acknowledgement, !challenge.is_empty());
        let mut context = vec![("aws:ssm:SessionId", "s-1"), ("aws:ssm:TargetId", INSTANCE)];
        if !challenge.is_empty() {
            context.push(("aws:ssm:RandomChallenge", challenge));
        }
        let context: Vec<_> =
            context.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let key = data_key(key_id, &context);
        assert_eq!(&result.ciphertext_key, key.ciphertext(), "KMS would refuse the context");
        let key = if flaw == Some(Flaw::OtherKey) { data_key("other", &context) } else { key };
        let cipher = Cipher::new(&key, Side::Agent);
        let challenge = EncryptionChallenge { challenge: cipher.encrypt(CHALLENGE) };
        self.cipher = Some(cipher);
        vec![(PayloadType::EncryptionChallengeRequest, challenge.to_payload())]
    }

    fn complete(&mut self, script: ShellScript) -> Said {
        let complete =
            HandshakeComplete { handshake_time_to_complete: 1, customer_message: "welcome".into() };
        let mut said = vec![(PayloadType::HandshakeComplete, complete.to_payload())];
        said.extend(self.begin(script));
        said
    }

    fn begin(&mut self, script: ShellScript) -> Said {
        self.ready = true;
        if script.kind == Kind::Command {
            self.ended = true;
            return vec![
                self.output(b"out\n"),
                (PayloadType::StdErr, self.seal(b"err\n")),
                (PayloadType::ExitCode, self.seal(&render_exit_code(7))),
            ];
        }
        if script.encryption.is_some_and(|encryption| encryption.flaw == Some(Flaw::PlainPrompt)) {
            return vec![(PayloadType::Output, Bytes::from_static(b"$ "))];
        }
        vec![self.output(b"$ ")]
    }

    fn output(&self, plain: &[u8]) -> (PayloadType, Bytes) {
        (PayloadType::Output, self.seal(plain))
    }

    fn seal(&self, plain: &[u8]) -> Bytes {
        self.cipher.as_ref().map_or_else(|| Bytes::copy_from_slice(plain), |cipher| cipher.encrypt(plain))
    }
}

/// What a key management service would make: another key for another context.
pub(crate) fn data_key(key_id: &str, context: &[(String, String)]) -> DataKey {
    let text = format!("{key_id} {context:?}");
    let halves = [Sha256::digest(&text), Sha256::digest(text.clone() + "!")];
    DataKey::new(&halves.concat(), text).unwrap()
}
