//! Migrations: what is due in a tenant's database, and doing it.
//!
//! The history is refinery's. `engine` is the one place that applies anything; whatever stands there keeps the
//! files, the checksums and the history as they are.

mod engine;
mod history;
mod plan;
mod run;

pub use plan::{Applied, Divergence, TenantPlan, plan};
pub use run::{Outcome, RunOptions, TenantReport, run};
