//! An HTTP server that stands in front of moto, or of LocalStack and moto, and behaves like AWS where they do not.
//!
//! Any client with the gateway's address as its endpoint works. Calls that no rule answers are passed on as they were sent;
//! `rule` lists the services that have one.
//!
//! Each of its floors uses those below it: `wire` reads and writes what goes over a connection, `upstream` asks the programs
//! behind the gateway, `memory` keeps state between calls, `rule` has a file for each service that the gateway answers itself,
//! and `serve`, `route`, `control` and `channel` take the calls in.

pub(crate) mod control;

mod agent;
mod channel;
mod clock;
mod database;
mod error;
mod guard;
mod machine;
mod memory;
mod options;
mod password;
mod route;
mod rule;
mod serve;
mod state;
mod task;
mod upstream;
mod wire;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpListener;

pub use agent::Agent;
pub use agent::remote::{AgentTimeouts, RemoteAgents};
pub use agent::session::AgentSession;
pub use database::{DatabaseSpec, Databases, NoDatabases};
pub use error::Error;
pub use machine::{Machines, NoMachines};
pub use memory::faults::{Fault, FaultKind};
pub use memory::journal::Call;
pub use memory::sessions::Disconnect;
pub use options::{Options, ResumeUrl, Signatures};
pub use password::Password;
pub use upstream::call_log::UpstreamCall;
pub use upstream::emulator::{Emulator, MotoKey, Side, Upstreams};
pub use upstream::kms::Kms;
pub use upstream::network::Network;
pub use wire::key::{Key, Unsigned};
pub use wire::reply::ServedBy;

pub(crate) use error::chain;
pub(crate) use wire::websocket;

use memory::denials::Action;
use state::State;

/// A running gateway. All its tasks end when it is dropped.
#[derive(Debug)]
pub struct Gateway {
    state: Arc<State>,
    also_at: Vec<SocketAddr>,
}

impl Gateway {
    /// Starts a gateway on a free port of 127.0.0.1, and on the other addresses of the options.
    ///
    /// # Errors
    /// When no port can be opened.
    pub async fn start(options: Options) -> Result<Gateway, Error> {
        let (primary, address) = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        let (mut listeners, mut also_at) = (vec![primary], Vec::new());
        for wanted in &options.listen {
            let (listener, address) = listen(*wanted).await?;
            listeners.push(listener);
            also_at.push(address);
        }
        let state = Arc::new(State::new(address, &also_at, options));
        for listener in listeners {
            state.tasks.spawn(serve::accept(Arc::clone(&state), listener));
        }
        Ok(Gateway { state, also_at })
    }

    /// Returns the primary address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.state.address
    }

    /// Returns the other addresses that it listens on, in the order of the options.
    pub fn also_at(&self) -> &[SocketAddr] {
        &self.also_at
    }

    /// Returns what clients take as their endpoint: `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.state.address)
    }

    /// Returns the key that calls must be signed with.
    pub fn key(&self) -> &Key {
        self.state.signers.own()
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

    /// Denies an operation to every caller, until [`Gateway::allow_all`].
    pub fn deny(&self, service: &str, operation: &str) {
        let (service, operation) = (service.to_owned(), operation.to_owned());
        self.state.denials.deny(Action { service, operation });
    }

    /// Allows what was denied.
    pub fn allow_all(&self) {
        self.state.denials.clear();
    }

    /// Waits until every injected fault has taken effect: for `LostReply` and `Hold`, until the work is done.
    pub async fn wait_until_fired(&self) {
        self.state.faults.wait_until_fired().await;
    }

    /// Returns the calls since the start or the last reset, in the order of arrival.
    pub fn journal(&self) -> Vec<Call> {
        self.state.journal.calls()
    }

    /// Watches for these words, and for no others, in the parameters of calls: [`Call::mentions`] tells which were there.
    pub fn watch_for(&self, words: Vec<String>) {
        self.state.journal.watch_for(words);
    }

    /// Returns every request that the programs behind the gateway have answered since the start or the last reset: the
    /// clients' and the gateway's own questions, in the order of the answers.
    pub fn upstream_calls(&self) -> Vec<UpstreamCall> {
        self.state.upstream.upstream_calls()
    }

    /// Returns how many sessions have not ended.
    pub fn live_sessions(&self) -> usize {
        self.state.sessions.records().iter().filter(|record| record.ended.is_none()).count()
    }

    /// Returns the instances whose agents were refused when they last asked to be registered, each with the reason.
    pub fn refused_agents(&self) -> Vec<(String, String)> {
        self.state.agents.obstacles()
    }

    /// Ends every data channel's websocket. The sessions go on and can be resumed.
    pub fn disconnect(&self, disconnect: Disconnect) {
        self.state.sessions.disconnect(disconnect);
    }

    /// Empties what is behind the gateway and forgets sessions, databases, faults and the journal.
    ///
    /// # Errors
    /// When a program does not answer, or cannot be emptied: LocalStack's free image refuses with 404.
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

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    if address.ip().is_unspecified() {
        return Err(Error::Everywhere { address });
    }
    let failed = |source| Error::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let actual = listener.local_addr().map_err(failed)?;
    Ok((listener, actual))
}
