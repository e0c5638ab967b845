//! How to migrate many tenants.

use std::time::Duration;

use stack::spec::OnError;

use super::plan::Late;
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
    /// How often locks that are not to be had, deadlocks and lost connections are tried again.
    pub retry: Retry,
    /// What becomes of files that came too late.
    pub late: Late,
    /// Whether all tenants are looked at before the first is written to.
    pub check: Check,
    /// The waves, one after the other; none is one of everybody. Tenants in none of them are not started.
    pub waves: Vec<Wave>,
    /// How many tenants may fail before the next wave is held back.
    pub error_budget: usize,
    /// What becomes of a wave in which more fail than that.
    pub on_error: OnError,
    /// Raised by whoever wants the run to stop.
    pub stop: Stop,
    /// How long after that a transaction in flight may still take before it is cancelled.
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
            late: Late::default(),
            check: Check::default(),
            waves: Vec::new(),
            error_budget: 0,
            on_error: OnError::default(),
            stop: Stop::new(),
            grace: Duration::from_secs(10),
        }
    }
}

/// Whether all tenants are looked at before the first is written to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Check {
    /// Each tenant is looked at when its turn comes.
    #[default]
    EachInTurn,
    /// All first, which costs a round trip a tenant, and a connection where there are more tenants than `jobs`.
    /// If one of them could not be migrated, none is.
    AllFirst,
}

/// Tenants that are migrated before others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wave {
    /// What it is called.
    pub name: String,
    /// Whose turn it is: places in the list of logins.
    pub places: Vec<usize>,
}
