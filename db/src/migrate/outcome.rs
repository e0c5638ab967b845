//! What becomes of a tenant.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Error;

/// What became of one tenant.
#[derive(Debug, Serialize)]
pub struct TenantReport {
    /// The tenant.
    pub tenant: String,
    /// What was done.
    pub outcome: Outcome,
    /// How long it took, the wait for the lock included.
    #[serde(skip)]
    pub elapsed: Duration,
}

/// What was done for a tenant.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Outcome {
    /// There was nothing to do; nothing was written.
    UpToDate,
    /// All that was pending is applied.
    Applied {
        /// In order: `V3__add_orders`.
        migrations: Vec<String>,
    },
    /// It stopped. What was committed before stays, what failed was rolled back: the next run goes on from there.
    Failed {
        /// What was committed before: nothing, unless a file asks for a transaction of its own.
        applied: Vec<String>,
        /// The migration that failed, if it came to that.
        migration: Option<String>,
        /// What went wrong.
        error: Error,
    },
    /// The run was told to stop; what was in flight is rolled back, unless `state` says otherwise.
    Interrupted {
        /// What was committed before.
        applied: Vec<String>,
        /// What is known of what was in flight.
        state: String,
    },
    /// Its turn did not come; nothing was written.
    NotStarted {
        /// Why not.
        reason: SkipReason,
    },
}

/// Why a tenant's turn did not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SkipReason {
    /// The run was told to stop.
    Interrupted,
    /// More tenants had failed than the budget allows.
    ErrorBudget,
    /// Another tenant did not pass the check of all.
    Check,
    /// No wave has it.
    NoWave,
    /// Another runner of the same run has it.
    Elsewhere,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SkipReason::Interrupted => "the run was interrupted",
            SkipReason::ErrorBudget => "too many tenants had failed",
            SkipReason::Check => "another tenant did not pass the check",
            SkipReason::NoWave => "no wave has it",
            SkipReason::Elsewhere => "another runner has it",
        })
    }
}
