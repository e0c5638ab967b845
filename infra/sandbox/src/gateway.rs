//! An HTTP server that stands in front of moto and behaves like AWS where moto does not.
//!
//! Any client whose endpoint is the gateway's address works. What the gateway does not treat reaches moto as it
//! was sent; `route` is the list of what it does.

mod agent;
mod channel;
mod control;
mod database;
mod ec2;
mod fault;
mod instance;
mod inventory;
mod journal;
mod kms;
mod network;
mod options;
mod rds;
mod registration;
mod reply;
mod request;
mod route;
mod serve;
mod session;
mod ssm;
mod state;
mod task;
mod upstream;
mod xml;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpListener;

pub use agent::{Agent, AgentSession};
pub use database::{DatabaseSpec, Databases, NoDatabases, Password};
pub use fault::{Fault, FaultKind};
pub use journal::Call;
pub use kms::Kms;
pub use network::Network;
pub use options::{Options, Signatures};
pub use session::Goodbye;

use state::State;

/// Why the gateway cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No port could be opened.
    #[error("cannot listen on 127.0.0.1")]
    Listen(#[source] io::Error),
    /// A request's path cannot be passed on.
    #[error("cannot pass the address of the request on")]
    Address(#[source] hyper::http::uri::InvalidUri),
    /// moto does not answer.
    #[error("cannot reach moto")]
    Unreachable(#[source] hyper_util::client::legacy::Error),
    /// moto stopped in the middle of an answer.
    #[error("moto broke off its answer")]
    Interrupted(#[source] hyper::Error),
    /// moto refused a question of the gateway's own.
    #[error("moto answered `{action}` with status {status}")]
    Refused {
        /// What it was asked.
        action: &'static str,
        /// The HTTP status.
        status: u16,
    },
    /// An answer of moto is not XML.
    #[error("cannot read the answer of moto")]
    Xml(#[from] roxmltree::Error),
}

/// A running gateway. All its tasks end when it is dropped.
#[derive(Debug)]
pub struct Gateway {
    state: Arc<State>,
}

impl Gateway {
    /// Starts a gateway on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When no port can be opened.
    pub async fn start(options: Options) -> Result<Gateway, Error> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(Error::Listen)?;
        let address = listener.local_addr().map_err(Error::Listen)?;
        let state = Arc::new(State::new(address, options));
        state.tasks.spawn(serve::accept(Arc::clone(&state), listener));
        Ok(Gateway { state })
    }

    /// Returns the address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.state.address
    }

    /// Returns what clients take as their endpoint: `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.state.address)
    }

    /// Returns who can reach whom in the networks behind this gateway.
    pub fn network(&self) -> Network {
        self.state.network.clone()
    }

    /// Lets a call go wrong.
    pub fn inject(&self, fault: Fault) {
        self.state.faults.inject(fault);
    }

    /// Takes back all faults that have not happened yet.
    pub fn clear_faults(&self) {
        self.state.faults.clear();
    }

    /// Waits until every injected fault has taken effect: for `LostReply` and `Hold`, until the work is done.
    pub async fn wait_until_fired(&self) {
        self.state.faults.wait_until_fired().await;
    }

    /// Returns the calls since the start or the last reset, in the order of arrival.
    pub fn journal(&self) -> Vec<Call> {
        self.state.journal.calls()
    }

    /// Returns how many sessions have not ended.
    pub fn live_sessions(&self) -> usize {
        self.state.sessions.records().iter().filter(|record| record.ended.is_none()).count()
    }

    /// Ends every data channel's websocket. The sessions go on and can be resumed.
    pub fn disconnect(&self, goodbye: Goodbye) {
        self.state.sessions.disconnect(goodbye);
    }

    /// Empties moto and forgets sessions, databases, faults and the journal.
    ///
    /// # Errors
    /// When moto does not answer.
    pub async fn reset(&self) -> Result<(), Error> {
        self.state.reset().await
    }

    /// Ends all tasks and waits until they are gone.
    pub async fn stop(self) {
        self.state.tasks.shutdown().await;
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.state.tasks.abort();
    }
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
