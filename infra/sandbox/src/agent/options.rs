//! What agents differ in.

use std::time::Duration;

use super::line::LineFaults;

/// How fast the agent sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pacing {
    /// At most one message of 1 KiB a millisecond, as real agents do.
    #[default]
    Real,
    /// As fast as it can, for tests of other things.
    Unlimited,
}

/// What agents differ in.
#[derive(Clone, Debug)]
pub struct AgentOptions {
    /// The version that the handshake tells; clients choose what they do by it.
    pub version: String,
    /// How fast the agent sends.
    pub pacing: Pacing,
    /// How long each step of the handshake may take.
    pub handshake_limit: Duration,
    /// What goes wrong on the way to the client; nothing unless a test wants it.
    pub line: LineFaults,
    /// The encryption that the account asks for in shells; port sessions never have any.
    pub encryption: Option<Encryption>,
    /// Who runs shells in root's place; `nobody` unless another is named. Who is not root runs them alone.
    pub shell_user: Option<String>,
    /// What becomes of what comes before the agent is ready, though it has said that the handshake is complete.
    pub start_up: StartUp,
}

/// The moment between the end of the handshake and the session. What comes in it counts as long as either measure says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartUp {
    /// For how long data is acknowledged and thrown away.
    pub deaf_for: Duration,
    /// How many messages are acknowledged and thrown away, however late they come.
    pub deaf_messages: u32,
    /// For how long after that data is not acknowledged, so that it comes again.
    pub unready_for: Duration,
    /// How many messages are not acknowledged after that, however late they come.
    pub unready_messages: u32,
}

impl Default for StartUp {
    /// What was measured on real agents.
    fn default() -> StartUp {
        StartUp {
            deaf_for: Duration::from_millis(1),
            deaf_messages: 0,
            unready_for: Duration::from_millis(8),
            unready_messages: 0,
        }
    }
}

impl StartUp {
    /// Returns the start-up of an agent that is ready at once.
    pub fn none() -> StartUp {
        StartUp {
            deaf_for: Duration::ZERO,
            deaf_messages: 0,
            unready_for: Duration::ZERO,
            unready_messages: 0,
        }
    }
}

/// The encryption of shells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encryption {
    /// The key of KMS that data keys are made with: an id, an ARN or an alias.
    pub key_id: String,
    /// Whether the agent puts a challenge into the context of data keys.
    pub challenge: Challenge,
}

/// Whether an agent puts a challenge into the context of data keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Challenge {
    /// It does, and refuses clients that do not know about it.
    #[default]
    Asked,
    /// It does not, as agents before 3.3.808.
    None,
}

impl Default for AgentOptions {
    fn default() -> AgentOptions {
        AgentOptions {
            version: "3.3.987.0".to_owned(),
            pacing: Pacing::Real,
            handshake_limit: Duration::from_secs(15),
            line: LineFaults::default(),
            encryption: None,
            shell_user: None,
            start_up: StartUp::default(),
        }
    }
}
