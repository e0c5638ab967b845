//! How a shell behaves.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use crate::event::Events;

/// How a shell behaves.
#[derive(Clone)]
pub struct ShellOptions {
    /// The instance, as the encryption context of a data key names it.
    pub target: String,
    /// The most bytes that may be unacknowledged before writers wait.
    pub window: usize,
    /// How long the session may take from its connection to the first sign of the shell.
    pub handshake_limit: Duration,
    /// How long a lost connection is tried to be made again.
    pub resume_limit: Duration,
    /// Whom to trust; `None` for what the system trusts.
    pub tls: Option<Arc<ClientConfig>>,
    /// Who is told what happens.
    pub events: Events,
}

impl ShellOptions {
    /// Returns the defaults for an instance.
    pub fn new(target: impl Into<String>) -> ShellOptions {
        ShellOptions {
            target: target.into(),
            window: 1 << 20,
            handshake_limit: Duration::from_secs(30),
            resume_limit: Duration::from_secs(300),
            tls: None,
            events: Events::default(),
        }
    }
}

impl fmt::Debug for ShellOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShellOptions").field("target", &self.target).finish_non_exhaustive()
    }
}
