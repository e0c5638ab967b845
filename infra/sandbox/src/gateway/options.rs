//! The options of a gateway.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;

use crate::gateway::agent::Agent;
use crate::gateway::database::Databases;
use crate::gateway::machine::{Machines, NoMachines};
use crate::gateway::upstream::emulator::Upstreams;
use crate::gateway::wire::key::Key;

/// The options of a gateway.
#[derive(Clone)]
pub struct Options {
    /// The programs behind the gateway.
    pub upstreams: Upstreams,
    /// Where to listen besides the primary address, which is on 127.0.0.1: for agents in containers, which reach this
    /// machine by a bridge's address. Port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// The names, without a port, that it is called by besides its addresses and `localhost`. A request for any other host is
    /// refused: a web page can have a name of its own lead here.
    pub hosts: Vec<String>,
    /// What calls must be signed with; by default one that nobody can guess.
    pub key: Key,
    /// The far end of sessions.
    pub agent: Arc<dyn Agent>,
    /// The machines behind EC2 instances.
    pub machines: Arc<dyn Machines>,
    /// The databases behind RDS instances.
    pub databases: Arc<dyn Databases>,
    /// How long every call takes at least.
    pub latency: Duration,
    /// How long after the boot an agent asks to be registered.
    pub registration_delay: Duration,
    /// How long a refused agent sleeps before it asks again; a reboot makes it ask at once.
    pub agent_retry: Duration,
    /// How many sessions are refused with `TargetNotConnected` though the agent is online.
    pub session_refusals: u32,
    /// How many launches are refused because the instance profile is new.
    pub profile_refusals: u32,
    /// How long an instance is `shutting-down`.
    pub termination_delay: Duration,
    /// How long a database is `creating` after it has started, and `deleting` after it has stopped.
    pub database_delay: Duration,
    /// Whether data channels must be opened with a signature.
    pub signatures: Signatures,
    /// What `ResumeSession` says of the data channel's address.
    pub resume_url: ResumeUrl,
    /// How far this service's clock is ahead of this machine's. A request that was signed more than five minutes away from it
    /// is refused, as AWS does.
    pub clock_ahead: SignedDuration,
}

/// What `ResumeSession` says of the data channel's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResumeUrl {
    /// It names it.
    Named,
    /// It does not name it: the address from before stays valid.
    Omitted,
}

/// Whether data channels must be opened with a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signatures {
    /// An unsigned upgrade is refused with 403, as AWS is to do.
    Required,
    /// An unsigned upgrade is served, for clients from before the end of 2025.
    Optional,
}

impl Options {
    /// Returns the options for everyday use: short delays, every quirk of AWS once or twice.
    pub fn new(upstreams: Upstreams, agent: Arc<dyn Agent>, databases: Arc<dyn Databases>) -> Options {
        Options {
            upstreams,
            listen: Vec::new(),
            hosts: Vec::new(),
            key: Key::random(),
            agent,
            machines: Arc::new(NoMachines),
            databases,
            latency: Duration::ZERO,
            registration_delay: Duration::from_millis(300),
            agent_retry: Duration::from_secs(300),
            session_refusals: 1,
            profile_refusals: 2,
            termination_delay: Duration::from_millis(200),
            database_delay: Duration::from_millis(200),
            signatures: Signatures::Required,
            resume_url: ResumeUrl::Named,
            clock_ahead: SignedDuration::ZERO,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("upstreams", &self.upstreams)
            .field("latency", &self.latency)
            .finish_non_exhaustive()
    }
}
