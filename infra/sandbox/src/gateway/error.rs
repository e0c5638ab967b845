//! Why the gateway cannot do its work.

use std::io;
use std::net::SocketAddr;

/// Why the gateway cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No port could be opened.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A wildcard address: nobody outside this machine may reach a sandbox.
    #[error("{address} would open the gateway to everybody; name one address of this machine")]
    Everywhere {
        /// The address.
        address: SocketAddr,
    },
    /// A request's path cannot be passed on.
    #[error("cannot pass the address of the request on")]
    Address(#[source] hyper::http::uri::InvalidUri),
    /// A program behind the gateway does not answer.
    #[error("cannot reach {program}")]
    Unreachable {
        /// The program.
        program: &'static str,
        /// What the connection said.
        #[source]
        source: hyper_util::client::legacy::Error,
    },
    /// A program stopped in the middle of an answer.
    #[error("{program} broke off its answer")]
    Interrupted {
        /// The program.
        program: &'static str,
        /// What the connection said.
        #[source]
        source: hyper::Error,
    },
    /// A program refused a question of the gateway's own.
    #[error("{program} answered `{action}` with status {status}")]
    Refused {
        /// The program.
        program: &'static str,
        /// What it was asked.
        action: &'static str,
        /// The HTTP status.
        status: u16,
    },
    /// An answer is not XML.
    #[error("cannot read the answer of a program behind the gateway")]
    Xml(#[from] roxmltree::Error),
}

/// Returns an error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        line.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    line
}
