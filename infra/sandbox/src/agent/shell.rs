//! A session with a terminal or a command, from the handshake to its end.
//!
//! Shells and commands run on this machine, as the user who runs the sandbox, or as one without privileges if that is root: in
//! an empty environment and a fresh folder, but not in any cage.

mod command;
mod place;
mod talk;
mod terminal;
mod user;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::time::{Instant, timeout};
use tunnel::{
    Cipher, DataKey, EncryptionChallenge, HandshakeResponse, KmsRequest, KmsResponse, PayloadType, Side,
};

use self::place::Place;
use self::talk::Talk;
use super::handshake;
use super::line::Line;
use super::link::Over;
use super::options::{AgentOptions, Challenge, Encryption};
use crate::gateway::{AgentSession, Kms};

/// How long an agent waits for the last acknowledgements.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Returns what an agent calls the session, if it is no port session.
pub(super) fn session_type(session: &AgentSession) -> Option<&'static str> {
    match session.document.as_str() {
        "SSM-SessionManagerRunShell" => Some("Standard_Stream"),
        "AWS-StartInteractiveCommand" => Some("InteractiveCommands"),
        "AWS-StartNonInteractiveCommand" => Some(NON_INTERACTIVE),
        _ => None,
    }
}

const NON_INTERACTIVE: &str = "NonInteractiveCommands";

/// Serves a session until the shell or the command ends, or the client breaks the protocol.
pub(super) async fn serve(
    options: AgentOptions,
    kms: Option<Kms>,
    session: AgentSession,
    session_type: &'static str,
    line: Line,
) {
    let mut talk = Talk::new(line, options.pacing);
    // Whichever of them ends the session, there is nobody left to be told.
    if shake_hands(&mut talk, &options, kms, &session, session_type).await.is_ok()
        && run(&mut talk, &options, &session, session_type).await.is_ok()
    {
        drop(timeout(LAST_WORDS, talk.until_acknowledged()).await);
    }
    talk.flush().await;
}

async fn run(
    talk: &mut Talk,
    options: &AgentOptions,
    session: &AgentSession,
    session_type: &'static str,
) -> Result<(), Over> {
    let user = match user::find(options.shell_user.as_deref()) {
        Ok(user) => user,
        Err(why) => {
            talk.output(PayloadType::Output, why.as_bytes());
            return Ok(());
        }
    };
    let home = user::home(user).map_err(|_| Over)?;
    let place = Place { home: home.path(), user };
    let line = session.parameters.get("command").map(String::as_str);
    if session_type == NON_INTERACTIVE {
        let separate = session.parameters.get("separateOutputStream");
        let outputs = if separate.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            command::Outputs::Apart
        } else {
            command::Outputs::Together
        };
        return command::run(talk, line.unwrap_or_default(), outputs, place).await;
    }
    terminal::run(talk, line, place).await
}

/// Agrees on the session, and on a key if the account wants one. A terminal without a key needs no agreement.
async fn shake_hands(
    talk: &mut Talk,
    options: &AgentOptions,
    kms: Option<Kms>,
    session: &AgentSession,
    session_type: &str,
) -> Result<(), Over> {
    let encryption = options.encryption.as_ref();
    if encryption.is_none() && session_type != NON_INTERACTIVE {
        return Ok(());
    }
    let since = Instant::now();
    let request = encryption.map(|encryption| KmsRequest {
        key_id: encryption.key_id.clone(),
        challenge: match encryption.challenge {
            Challenge::Asked => STANDARD.encode(rand::random::<[u8; 32]>()),
            Challenge::None => String::new(),
        },
    });
    let payload = handshake::request(options, session_type, Value::Null, request.as_ref());
    talk.send(PayloadType::HandshakeRequest, payload);
    let answer = talk.expect(PayloadType::HandshakeResponse, options.handshake_limit).await?;
    let response = handshake::accepted(&answer)?;
    let mut message = "";
    if let (Some(encryption), Some(request)) = (encryption, request) {
        let key = data_key(kms, session, encryption, &request, &response).await?;
        let cipher = Cipher::new(&key, Side::Agent);
        let plain = rand::random::<[u8; 32]>();
        let challenge = EncryptionChallenge { challenge: cipher.encrypt(&plain) }.to_payload();
        talk.send(PayloadType::EncryptionChallengeRequest, challenge);
        let answer = talk.expect(PayloadType::EncryptionChallengeResponse, options.handshake_limit).await?;
        let sealed = EncryptionChallenge::parse(&answer).map_err(|_| Over)?.challenge;
        if cipher.decrypt(&sealed).map_err(|_| Over)? != plain[..] {
            return Err(Over);
        }
        talk.encrypt(cipher);
        message = "This session is encrypted using AWS KMS.";
    }
    talk.send(PayloadType::HandshakeComplete, handshake::complete(since, message));
    Ok(())
}

/// Lets KMS decrypt the client's data key in the context of this session.
async fn data_key(
    kms: Option<Kms>,
    session: &AgentSession,
    encryption: &Encryption,
    request: &KmsRequest,
    response: &HandshakeResponse,
) -> Result<DataKey, Over> {
    let mut actions = response.processed_client_actions.iter();
    let result = actions.find(|action| action.action_type == "KMSEncryption").ok_or(Over)?;
    let result: KmsResponse = serde_json::from_value(result.action_result.clone()).map_err(|_| Over)?;
    let mut context = vec![
        ("aws:ssm:SessionId", session.session_id.as_str()),
        ("aws:ssm:TargetId", session.instance_id.as_str()),
    ];
    if result.challenge_acknowledgement {
        context.push(("aws:ssm:RandomChallenge", request.challenge.as_str()));
    } else if encryption.challenge == Challenge::Asked {
        // An agent that is configured so refuses clients that do not know challenges.
        return Err(Over);
    }
    let kms = kms.ok_or(Over)?;
    let clear = kms.decrypt(&session.region, &encryption.key_id, &result.ciphertext_key, &context).await;
    DataKey::new(&clear.map_err(|_| Over)?, result.ciphertext_key).map_err(|_| Over)
}
