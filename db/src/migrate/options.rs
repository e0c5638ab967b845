//! How to migrate many tenants.

use std::time::Duration;

use stack::spec::OnError;

use super::plan::OutOfOrder;
use super::retry::Retry;
use super::stop::Stop;
use crate::{ConnectOptions, SearchPath, lock};

/// How to migrate.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// How many tenants at a time, each over one connection.
    pub jobs: usize,
    /// How long to wait for another run on the same database.
    pub lock_limit: Duration,
    /// How to connect; `lock_timeout` and `statement_timeout` hold for every migration, `search_path` is always the tenant's own.
    pub connect: ConnectOptions,
    /// How often a tenant is tried again after a lock timeout, a deadlock or a lost connection.
    pub retry: Retry,
    /// What becomes of files that came too late.
    pub late: OutOfOrder,
    /// Whether all tenants are checked before the first is written to.
    pub check: Check,
    /// The waves, one after the other. An empty list is one wave of all tenants. A tenant in no wave is not started.
    pub waves: Vec<Wave>,
    /// How many tenants may fail before the next wave is held back.
    pub error_budget: usize,
    /// What becomes of a wave in which more fail than that.
    pub on_error: OnError,
    /// The flag that asks the run to stop.
    pub stop: Stop,
    /// How long a transaction in flight may still take after that, before it is cancelled.
    pub grace: Duration,
}

impl Default for RunOptions {
    fn default() -> RunOptions {
        RunOptions {
            jobs: 4,
            lock_limit: lock::LOCK_LIMIT,
            connect: ConnectOptions {
                search_path: SearchPath::Own,
                lock_timeout: None,
                breaks_silence: false,
                ..ConnectOptions::default()
            },
            retry: Retry::default(),
            late: OutOfOrder::default(),
            check: Check::default(),
            waves: Vec::new(),
            error_budget: 0,
            on_error: OnError::default(),
            stop: Stop::new(),
            grace: Duration::from_secs(10),
        }
    }
}

/// Whether all tenants are checked before the first is written to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Check {
    /// Each tenant is checked when its turn comes.
    #[default]
    EachInTurn,
    /// All first, which costs a round trip a tenant, and a connection where there are more tenants than `jobs`.
    /// If one of them could not be migrated, none is.
    AllFirst,
}

/// Tenants that are migrated before others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wave {
    /// Its name.
    pub name: String,
    /// Its tenants, as places in the list of logins.
    pub places: Vec<usize>,
}
