//! The report of a whole run.

use std::time::Duration;

use super::super::outcome::TenantReport;

/// The result of a run, over all its runners.
#[derive(Debug)]
pub struct Joined {
    /// One for each tenant of the run, in the order of its first runner.
    pub reports: Vec<TenantReport>,
    /// Who had each of them last.
    pub runners: Vec<Option<String>>,
    /// How long it took from the first runner's beginning to the last tenant's end.
    pub elapsed: Duration,
}
