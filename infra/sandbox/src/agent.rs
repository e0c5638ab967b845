//! An SSM agent: the far end of port sessions and shells, with the habits of the real one (3.3.987).

mod dialer;
mod handshake;
mod line;
mod link;
mod options;
mod program;
mod sender;
mod session;
mod shell;
mod streams;

pub use dialer::{Dialer, Directory};
pub use line::LineFaults;
pub use options::{AgentOptions, Challenge, Encryption, Pacing, StartUp};
pub use program::{ProgramSettings, SettingsError, run as run_agent};

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use crate::gateway::{self, AgentSession, Kms};

/// The agents of all bastions of a sandbox.
#[derive(Debug)]
pub struct Agent {
    options: AgentOptions,
    dialer: Arc<Dialer>,
    kms: Option<Kms>,
}

impl Agent {
    /// Returns agents that reach what `dialer` reaches.
    pub fn new(options: AgentOptions, dialer: Dialer) -> Agent {
        Agent { options, dialer: Arc::new(dialer), kms: None }
    }

    /// Lets them decrypt data keys: encrypted shells need it.
    #[must_use]
    pub fn with_kms(self, kms: Kms) -> Agent {
        Agent { kms: Some(kms), ..self }
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
        if let Some(session_type) = shell::session_type(&session) {
            let (options, kms) = (self.options.clone(), self.kms.clone());
            return Box::pin(shell::serve(options, kms, session, session_type, line));
        }
        Box::pin(session::serve(self.options.clone(), Arc::clone(&self.dialer), session, line))
    }
}
