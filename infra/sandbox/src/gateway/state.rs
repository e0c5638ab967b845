//! What all calls share.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use super::denial::Denials;
use super::fault::Faults;
use super::guard::Hosts;
use super::instance::Launches;
use super::journal::Journal;
use super::network::Network;
use super::options::Options;
use super::rds::Phases;
use super::registration::Agents;
use super::session::Sessions;
use super::signature::Signers;
use super::sns::Confirmed;
use super::task::Tasks;
use super::upstream::Upstream;

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
            hosts: Hosts::new(&addresses, &options),
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

    /// Returns the age of the world: what was put off in an earlier one must not happen in this.
    pub(crate) fn age(&self) -> u64 {
        self.resets.load(Ordering::Relaxed)
    }

    /// Forgets everything, here and behind us.
    pub(crate) async fn reset(&self) -> Result<(), super::Error> {
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
            // What cannot be removed is reported by the next that tries to use it.
            drop(self.options.databases.delete(&identifier).await);
        }
        self.upstream.reset().await?;
        self.journal.clear();
        Ok(())
    }
}
