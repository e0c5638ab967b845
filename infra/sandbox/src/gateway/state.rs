//! The state that all calls share.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::Error;
use super::memory::agents::Agents;
use super::memory::denials::Denials;
use super::memory::faults::Faults;
use super::memory::journal::Journal;
use super::memory::launches::Launches;
use super::memory::phases::Phases;
use super::memory::sessions::Sessions;
use super::memory::signers::Signers;
use super::memory::subscriptions::Confirmed;
use super::options::Options;
use super::task::Tasks;
use super::upstream::Upstream;
use super::upstream::network::Network;
use super::wire::hosts::Hosts;

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) address: SocketAddr,
    pub(crate) options: Options,
    pub(crate) hosts: Hosts,
    pub(crate) signers: Signers,
    pub(crate) upstream: Upstream,
    pub(crate) network: Network,
    pub(crate) tasks: Tasks,
    pub(crate) journal: Journal,
    pub(crate) faults: Faults,
    pub(crate) denials: Denials,
    pub(crate) launches: Launches,
    pub(crate) agents: Agents,
    pub(crate) sessions: Sessions,
    pub(crate) phases: Phases,
    pub(crate) confirmed: Confirmed,
    resets: AtomicU64,
}

impl State {
    pub(crate) fn new(address: SocketAddr, also_at: &[SocketAddr], options: Options) -> State {
        let upstream = Upstream::new(options.upstreams);
        let addresses: Vec<SocketAddr> = also_at.iter().copied().chain([address]).collect();
        State {
            address,
            network: Network::over(upstream.clone()),
            upstream,
            hosts: Hosts::new(&addresses, &options.hosts),
            signers: Signers::new(options.key.clone()),
            options,
            tasks: Tasks::new(),
            journal: Journal::new(),
            faults: Faults::new(),
            denials: Denials::default(),
            launches: Launches::default(),
            agents: Agents::default(),
            sessions: Sessions::default(),
            phases: Phases::default(),
            confirmed: Confirmed::default(),
            resets: AtomicU64::new(0),
        }
    }

    /// Returns how many resets there were. A delayed task from before a reset must not act after it.
    pub(crate) fn generation(&self) -> u64 {
        self.resets.load(Ordering::Relaxed)
    }

    /// Empties the memories and the programs behind the gateway.
    pub(crate) async fn reset(&self) -> Result<(), Error> {
        self.resets.fetch_add(1, Ordering::Relaxed);
        self.faults.clear();
        self.denials.clear();
        self.signers.clear();
        for instance in self.agents.clear() {
            self.options.machines.halt(&instance);
        }
        self.sessions.clear();
        self.launches.clear();
        self.confirmed.clear();
        for identifier in self.phases.clear() {
            // A database that cannot be removed is reported when its place is used again.
            drop(self.options.databases.delete(&identifier).await);
        }
        self.upstream.reset().await?;
        self.journal.clear();
        Ok(())
    }
}
