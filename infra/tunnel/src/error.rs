//! Why a tunnel or one of its streams failed.

use std::sync::Arc;
use std::time::Duration;

use crate::smux::FrameError;
use crate::version::Version;

/// An error underneath; shared, because every stream of a tunnel ends with the same one.
pub type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// What can go wrong with a tunnel.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The stream URL is no websocket URL.
    #[error("the stream url of the session is not a `ws` or `wss` url")]
    Url,
    /// The system's root certificates cannot be used.
    #[error("cannot set up tls")]
    Tls(#[source] Cause),
    /// No websocket could be opened.
    #[error("cannot open a websocket to `{host}`")]
    Connect {
        /// Host and port.
        host: String,
        /// Why.
        #[source]
        source: Cause,
    },
    /// The server answered, but not with a websocket.
    #[error("`{host}` refused the websocket with http status {status}")]
    Refused {
        /// Host and port.
        host: String,
        /// The HTTP status.
        status: u16,
    },
    /// Whoever knows AWS could not help.
    #[error("cannot {action} the session")]
    Control {
        /// `start`, `sign`, `resume`, `encrypt` or `terminate`.
        action: &'static str,
        /// Why.
        #[source]
        source: Cause,
    },
    /// The agent did not answer in time.
    #[error("the agent did not finish the handshake within {limit:?}")]
    HandshakeTimedOut {
        /// How long it had.
        limit: Duration,
    },
    /// The agent says that it is ready, but opens no stream: it waits for the target, and that does not answer.
    #[error("the bastion opened no connection within {limit:?}: packets to the target vanish on the way")]
    Unproven {
        /// How long it had.
        limit: Duration,
    },
    /// The agent cannot carry more than one connection.
    #[error("the agent is too old: its version is `{version}`, and it must be newer than `{limit}`")]
    AgentTooOld {
        /// What the agent says.
        version: String,
        /// The newest version that is too old.
        limit: Version,
    },
    /// The agent asks for something that a port session does not have.
    #[error("the agent asks for `{action}`, which this client does not support")]
    Unsupported {
        /// The action.
        action: String,
    },
    /// The agent's handshake is not the JSON expected.
    #[error("cannot read the agent's handshake")]
    Handshake(#[source] Cause),
    /// Messages came in an order that cannot be.
    #[error("the agent broke the protocol: {0}")]
    Protocol(&'static str),
    /// Bytes of an encrypted session cannot be read.
    #[error("the agent broke the encryption of the session")]
    Encryption(#[source] Cause),
    /// The bytes of the session are no smux frames.
    #[error("the agent broke the stream of the session")]
    Frame(#[from] FrameError),
    /// Bytes that came before their turn were put into a temporary file and cannot be read back.
    #[error("cannot read back what came before its turn")]
    ReorderBuffer(#[source] Cause),
    /// The service ended the session.
    #[error("the session has ended{}", reason(.output))]
    SessionEnded {
        /// The service's words; may be empty.
        output: String,
    },
    /// The agent ended the session while bytes were on their way to it, some of them for the second time.
    #[error(
        "the bastion's agent ended the session while {unacknowledged} bytes were on their way to it: an agent that \
         fails to send an acknowledgement takes the same bytes twice, and cannot go on"
    )]
    EndedUnderUpload {
        /// The bytes that were sent and not acknowledged.
        unacknowledged: usize,
    },
    /// The agent refuses the address: loopback addresses need the document for the bastion's own ports.
    #[error("the bastion's agent does not forward to this address: {}", said.trim())]
    Forbidden {
        /// The agent's words.
        said: String,
    },
    /// The bastion cannot resolve the target's name, and its agent says so.
    #[error("the bastion cannot resolve the name of the target: {}", said.trim())]
    UnknownHost {
        /// The agent's words.
        said: String,
    },
    /// The agent acknowledges nothing, though the service carries the session.
    #[error(
        "the bastion's agent has acknowledged nothing for {limit:?}: the bastion is gone or hangs, \
         though Session Manager still answers"
    )]
    AgentSilent {
        /// How long it was waited for.
        limit: Duration,
    },
    /// The bastion cannot reach the target: nothing listens there, or the name is unknown. Most agents do not say which.
    #[error("the bastion could not connect to `{target}`")]
    ConnectFailed {
        /// Host and port.
        target: String,
    },
    /// The bastion does not come back from the target: packets vanish on the way, or nothing answers there.
    #[error("the bastion could not connect to `{target}`: there was no answer within {limit:?}")]
    Unanswered {
        /// Host and port.
        target: String,
        /// How long it had.
        limit: Duration,
    },
    /// The connection was lost and did not come back.
    #[error("the connection to the session was lost and did not come back within {limit:?}")]
    Disconnected {
        /// How long it was tried.
        limit: Duration,
        /// The last failure.
        #[source]
        source: Cause,
    },
    /// The connection was lost.
    #[error("the connection was lost: {why}")]
    Lost {
        /// What was seen.
        why: String,
    },
    /// The tunnel was closed at this end.
    #[error("the tunnel is closed")]
    Closed,
}

impl Error {
    /// Says whether the far end has ended the session: there is nothing left to end.
    pub fn is_session_end(&self) -> bool {
        matches!(
            self,
            Error::SessionEnded { .. }
                | Error::EndedUnderUpload { .. }
                | Error::Forbidden { .. }
                | Error::UnknownHost { .. }
        )
    }

    /// Returns what the words mean with which the far end ended the session.
    pub(crate) fn of_the_end(output: String) -> Error {
        let words = output.to_lowercase();
        if words.contains("forwarding to ip address") && words.contains("forbidden") {
            Error::Forbidden { said: output }
        } else if words.contains("no such host") || words.contains("resolve host") {
            Error::UnknownHost { said: output }
        } else {
            Error::SessionEnded { output }
        }
    }

    /// Returns the error and its causes in one line.
    pub(crate) fn chain(&self) -> String {
        let mut line = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            let said = cause.to_string();
            // Some errors repeat their cause.
            if !line.ends_with(&said) {
                line.push_str(": ");
                line.push_str(&said);
            }
            source = cause.source();
        }
        line
    }
}

fn reason(output: &str) -> String {
    if output.trim().is_empty() { String::new() } else { format!(": {}", output.trim()) }
}
