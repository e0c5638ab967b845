//! The client's end of a shell's data channel as a state machine: messages and time go in, actions come out.

mod handshake;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::payload::{EncryptionChallenge, KmsRequest, TerminalSize, parse_exit_code};
use crate::cipher::Cipher;
use crate::error::Error;
use crate::liveness::{self, AGENT_LIMIT, Liveness, Signs};
use crate::message::{Message, PayloadType};
use crate::payload::{HandshakeComplete, HandshakeRequest};
use crate::reliable::{Arrived, Reliable};
use crate::version::Version;

/// How long typing waits for the first output after a handshake. What comes before the agent is ready is acknowledged and
/// thrown away; its first output shows that it is. A program that says nothing gets what is typed after that time.
const HOLD: Duration = Duration::from_millis(500);

/// What the owner of the channel has to do, in this order.
pub(crate) enum Action {
    /// Write the frame.
    Send(Bytes),
    /// Ask for a data key and give it to [`Channel::on_data_key`].
    GetDataKey(KeyRequest),
    /// The handshake is complete; shells without encryption have none.
    Shaken { agent: Version, customer_message: String },
    /// Bytes of the terminal, or of the command's standard output.
    Output(Bytes),
    /// Bytes of the command's standard error.
    StdErr(Bytes),
    /// The command has ended.
    Exit(i32),
    /// The agent has acknowledged nothing for so long: try another connection.
    Reconnect(Duration),
    /// The session is over. Nothing follows.
    Closed(Error),
}

/// Which data key is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyRequest {
    pub(crate) key_id: String,
    pub(crate) context: Vec<(String, String)>,
}

/// The state of a shell's data channel. It outlives the connections that carry it.
pub(crate) struct Channel {
    reliable: Reliable,
    session_id: String,
    target: String,
    phase: Phase,
    cipher: Option<Cipher>,
    liveness: Liveness,
    /// Until when nothing is typed: an agent whose handshake has just ended throws it away. A prompt ends it.
    hold_until: Option<Instant>,
}

enum Phase {
    /// Nothing has come yet: what comes first tells whether there is a handshake.
    Quiet,
    /// The request waits for a data key.
    Keyless {
        request: HandshakeRequest,
        kms: KmsRequest,
    },
    /// The answer is out.
    Answered {
        agent: Version,
    },
    Ready,
    Over,
}

impl Channel {
    /// Returns the channel of a session that was just started with that instance.
    pub(crate) fn new(reliable: Reliable, session_id: String, target: String) -> Channel {
        Channel {
            reliable,
            session_id,
            target,
            phase: Phase::Quiet,
            cipher: None,
            liveness: Liveness::new(AGENT_LIMIT),
            hold_until: None,
        }
    }

    /// Returns the layer that numbers and repeats messages.
    pub(crate) fn reliable(&mut self) -> &mut Reliable {
        &mut self.reliable
    }

    pub(crate) fn on_message(&mut self, message: Message, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        if matches!(self.phase, Phase::Over) {
            return actions;
        }
        match self.reliable.on_message(message, now) {
            Arrived::Data(acknowledge) => {
                actions.extend(acknowledge.map(Action::Send));
                actions.extend(self.on_more(now).unwrap_or_default());
            }
            Arrived::Closed(error) => self.close(error, &mut actions),
            Arrived::Nothing => (),
        }
        actions
    }

    /// Goes on with what came before its turn and is in order now; `None` when there is no more.
    pub(crate) fn on_more(&mut self, now: Instant) -> Option<Vec<Action>> {
        let mut actions = Vec::new();
        if matches!(self.phase, Phase::Over) {
            return None;
        }
        let batch = self.reliable.next_batch().transpose()?;
        let taken = batch.and_then(|batch| {
            batch.into_iter().try_for_each(|message| self.on_payload(message, now, &mut actions))
        });
        if let Err(error) = taken {
            self.close(error, &mut actions);
        }
        Some(actions)
    }

    /// Does what is due at `now`.
    pub(crate) fn on_timer(&mut self, now: Instant) -> Vec<Action> {
        let mut actions: Vec<Action> = self.reliable.on_timer(now).into_iter().map(Action::Send).collect();
        if !self.is_ready() {
            return actions;
        }
        match self.liveness.due(self.signs(), now) {
            // Whatever a shell is sent, it takes for something typed.
            liveness::Due::Nothing | liveness::Due::Ask => (),
            liveness::Due::Reconnect => actions.push(Action::Reconnect(self.reliable.silence(now))),
            liveness::Due::Tell(_) | liveness::Due::GiveUp => {
                self.close(Error::AgentSilent { limit: AGENT_LIMIT }, &mut actions);
            }
        }
        actions
    }

    pub(crate) fn next_timer(&self) -> Option<Instant> {
        let liveness = if self.is_ready() { self.liveness.next(self.signs()) } else { None };
        [self.reliable.next_timer(), liveness].into_iter().flatten().min()
    }

    fn signs(&self) -> Signs {
        let (heard, owing) = (self.reliable.heard(), self.reliable.owing());
        Signs { heard, owing, is_needed: false, may_be_stalled: false }
    }

    /// Returns the frame that types these bytes; the session must be ready, or the agent throws them away.
    pub(crate) fn write(&mut self, bytes: Bytes, now: Instant) -> Bytes {
        let payload = self.cipher.as_ref().map_or_else(|| bytes.clone(), |cipher| cipher.encrypt(&bytes));
        self.reliable.send(PayloadType::Output, payload, now)
    }

    /// Returns the frame that tells the size of the terminal; it is never encrypted.
    pub(crate) fn resize(&mut self, size: TerminalSize, now: Instant) -> Bytes {
        self.reliable.send(PayloadType::Size, size.to_payload(), now)
    }

    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready)
    }

    /// Returns until when nothing may be typed though the handshake is complete.
    pub(crate) fn hold_until(&self) -> Option<Instant> {
        self.hold_until
    }

    /// Returns how many bytes may be written now.
    pub(crate) fn room(&self) -> usize {
        self.reliable.room()
    }

    fn on_payload(&mut self, message: Message, now: Instant, actions: &mut Vec<Action>) -> Result<(), Error> {
        let payload = &message.payload;
        match (message.payload_type, &self.phase) {
            (PayloadType::HandshakeRequest, Phase::Quiet) => self.on_request(payload, now, actions)?,
            (PayloadType::EncryptionChallengeRequest, Phase::Answered { .. }) => {
                let sealed = EncryptionChallenge::parse(payload)
                    .map_err(|error| Error::Handshake(Arc::new(error)))?
                    .challenge;
                let cipher = self.cipher.as_ref().ok_or(Error::Protocol("a challenge came without a key"))?;
                let plain = cipher.decrypt(&sealed).map_err(|error| Error::Encryption(Arc::new(error)))?;
                let answer = EncryptionChallenge { challenge: cipher.encrypt(&plain) }.to_payload();
                actions.push(self.send(PayloadType::EncryptionChallengeResponse, answer, now));
            }
            (PayloadType::HandshakeComplete, &Phase::Answered { agent }) => {
                let complete = HandshakeComplete::parse(payload).unwrap_or_default();
                self.phase = Phase::Ready;
                self.hold_until = Some(now + HOLD);
                actions.push(Action::Shaken { agent, customer_message: complete.customer_message });
            }
            (PayloadType::Output | PayloadType::StdErr | PayloadType::ExitCode, phase) => {
                match phase {
                    Phase::Keyless { .. } | Phase::Answered { .. } => {
                        return Err(Error::Protocol("data came before the end of the handshake"));
                    }
                    // An agent that does not ask for encryption begins with the prompt.
                    Phase::Quiet | Phase::Ready | Phase::Over => self.phase = Phase::Ready,
                }
                self.hold_until = None;
                let plain = match &self.cipher {
                    Some(cipher) => {
                        cipher.decrypt(payload).map_err(|error| Error::Encryption(Arc::new(error)))?
                    }
                    None => payload.clone(),
                };
                actions.push(output(message.payload_type, plain));
            }
            // The official client ignores the rest too.
            _ => (),
        }
        Ok(())
    }

    fn send(&mut self, payload_type: PayloadType, payload: Bytes, now: Instant) -> Action {
        Action::Send(self.reliable.send(payload_type, payload, now))
    }

    fn close(&mut self, error: Error, actions: &mut Vec<Action>) {
        self.phase = Phase::Over;
        actions.push(Action::Closed(error));
    }
}

fn output(payload_type: PayloadType, plain: Bytes) -> Action {
    if payload_type == PayloadType::StdErr {
        return Action::StdErr(plain);
    }
    let code = if payload_type == PayloadType::ExitCode { parse_exit_code(&plain) } else { None };
    // What is no code is shown, as the official client does with all of them.
    code.map_or(Action::Output(plain), Action::Exit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::cipher::{DataKey, Side};
    use crate::message::MessageType;
    use crate::{HandshakeResponse, TerminalSize};

    fn channel(now: Instant) -> Channel {
        Channel::new(Reliable::new(1024, 1 << 20, now), "s-1".to_owned(), "i-1".to_owned())
    }

    fn from_agent(sequence: i64, payload_type: PayloadType, payload: impl Into<Bytes>) -> Message {
        let mut message = Message::new(MessageType::OutputStreamData, payload_type, payload);
        message.sequence = sequence;
        message
    }

    fn request(actions: &Value) -> Bytes {
        json!({"AgentVersion": "3.3.987.0", "RequestedClientActions": actions}).to_string().into()
    }

    fn kms_request() -> Bytes {
        request(&json!([
            {"ActionType": "SessionType", "ActionParameters": {"SessionType": "Standard_Stream"}},
            {"ActionType": "KMSEncryption", "ActionParameters": {"KMSKeyId": "key", "Challenge": "random"}},
        ]))
    }

    /// Returns the messages that the actions send, without acknowledgements.
    fn sent(actions: &[Action]) -> Vec<Message> {
        let frames = actions.iter().filter_map(|action| match action {
            Action::Send(frame) => Some(Message::parse(frame.clone()).unwrap()),
            Action::GetDataKey(_)
            | Action::Shaken { .. }
            | Action::Output(_)
            | Action::StdErr(_)
            | Action::Exit(_)
            | Action::Reconnect(_)
            | Action::Closed(_) => None,
        });
        frames.filter(|message| message.message_type == MessageType::InputStreamData).collect()
    }

    #[test]
    fn the_answer_waits_for_the_data_key_and_what_is_typed_afterwards_is_encrypted() {
        let now = Instant::now();
        let mut channel = channel(now);
        let actions = channel.on_message(from_agent(0, PayloadType::HandshakeRequest, kms_request()), now);
        assert!(sent(&actions).is_empty());
        assert!(
            actions.iter().any(|action| matches!(action, Action::GetDataKey(asked) if asked.key_id == "key"))
        );
        let key = || DataKey::new(&[5; 64], "sealed").unwrap();
        let answers = sent(&channel.on_data_key(Ok(key()), now));
        let answer = HandshakeResponse::parse(&answers[0].payload).unwrap();
        let expected = json!({"KMSCipherTextKey": "c2VhbGVk", "ChallengeAcknowledgement": true});
        assert_eq!(answer.processed_client_actions[1].action_result, expected);
        assert!(channel.on_data_key(Ok(key()), now).is_empty(), "a key that nobody asked for");
        channel.on_message(from_agent(1, PayloadType::HandshakeComplete, "{}"), now);
        assert!(channel.is_ready());
        let typed = Message::parse(channel.write("ls".into(), now)).unwrap();
        assert_eq!(Cipher::new(&key(), Side::Agent).decrypt(&typed.payload).unwrap(), "ls");
        let size = Message::parse(channel.resize(TerminalSize { cols: 80, rows: 24 }, now)).unwrap();
        assert_eq!(size.payload, r#"{"cols":80,"rows":24}"#, "sizes are never encrypted");
    }

    #[test]
    fn a_handshake_after_the_prompt_changes_nothing() {
        let now = Instant::now();
        let mut channel = channel(now);
        channel.on_message(from_agent(0, PayloadType::Output, "$ "), now);
        let actions = channel.on_message(from_agent(1, PayloadType::HandshakeRequest, kms_request()), now);
        assert_eq!(actions.len(), 1, "it is acknowledged and that is all");
        assert!(channel.is_ready());
    }

    #[test]
    fn an_exit_code_that_is_none_is_shown() {
        let now = Instant::now();
        let mut channel = channel(now);
        for (sequence, text, code) in
            [(0, "EXIT_CODE: 7", Some(7)), (1, "EXIT_CODE: -1", Some(-1)), (2, "gone", None)]
        {
            let actions = channel.on_message(from_agent(sequence, PayloadType::ExitCode, text), now);
            match (&actions[1], code) {
                (Action::Exit(told), Some(code)) => assert_eq!(*told, code),
                (Action::Output(shown), None) => assert_eq!(shown, text),
                _ => panic!("{text}"),
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_nothing_panics_and_nothing_follows_the_end(
            messages in proptest::collection::vec((0_u32..15, 0..3_i64, 0..5_u8, "\\PC{0,40}"), 1..30),
        ) {
            let now = Instant::now();
            let (mut channel, mut next, mut over) = (channel(now), 0, false);
            for (payload_type, skew, kind, text) in messages {
                let payload: Bytes = match kind {
                    0 => kms_request(),
                    1 => request(&json!([{"ActionType": text}])),
                    2 => json!({"Challenge": text}).to_string().into(),
                    _ => text.into(),
                };
                let message = from_agent(next - skew, PayloadType::from_number(payload_type), payload);
                next += i64::from(skew == 0);
                let mut actions = channel.on_message(message, now);
                if kind == 4 {
                    actions.extend(channel.on_data_key(Ok(DataKey::new(&[1; 64], "").unwrap()), now));
                }
                prop_assert!(!over || actions.is_empty());
                over |= actions.iter().any(|action| matches!(action, Action::Closed(_)));
                prop_assert!(!over || matches!(actions.last(), None | Some(Action::Closed(_))));
            }
        }
    }
}
