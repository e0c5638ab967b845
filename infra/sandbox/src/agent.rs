//! An SSM agent: the far end of port sessions, with the habits of the real one (3.3.987).

mod dialer;
mod line;
mod program;
mod sender;
mod session;
mod streams;

pub use dialer::{Dialer, Directory};
pub use line::LineFaults;
pub use program::{ProgramSettings, SettingsError, run as run_agent};

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use crate::gateway::{self, AgentSession};

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
}

impl Default for AgentOptions {
    fn default() -> AgentOptions {
        AgentOptions {
            version: "3.3.987.0".to_owned(),
            pacing: Pacing::Real,
            handshake_limit: Duration::from_secs(15),
            line: LineFaults::default(),
        }
    }
}

/// The agents of all bastions of a sandbox.
#[derive(Debug)]
pub struct Agent {
    options: AgentOptions,
    dialer: Arc<Dialer>,
}

impl Agent {
    /// Returns agents that reach what `dialer` reaches.
    pub fn new(options: AgentOptions, dialer: Dialer) -> Agent {
        Agent { options, dialer: Arc::new(dialer) }
    }
}

impl gateway::Agent for Agent {
    fn serve(
        &self,
        session: AgentSession,
        from_client: mpsc::Receiver<Bytes>,
        to_client: mpsc::Sender<Bytes>,
    ) -> BoxFuture<'static, ()> {
        let line = line::Line::new(from_client, to_client, self.options.line);
        Box::pin(session::serve(self.options.clone(), Arc::clone(&self.dialer), session, line))
    }
}
