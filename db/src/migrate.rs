//! Migrations: what is due in a tenant's database, and doing it.
//!
//! Files, checksums and history are refinery's, so that plain refinery can go on from wherever this stops, and the
//! other way round. After connecting, a tenant costs two round trips: `lock_and_read` takes the lock and reads the history,
//! `engine` sends all that is pending in one transaction. One that is up to date costs the first alone.

mod aside;
mod capacity;
mod engine;
mod history;
mod join;
mod lock_and_read;
mod message;
mod no_transaction;
mod options;
mod outcome;
mod partition;
mod place;
mod plan;
mod repair;
mod retry;
mod run;
mod segment;
mod stop;
mod target;
mod task;
mod wave;

pub use capacity::find_jobs;
pub use join::{JoinOptions, Joined, RunName, join};
pub use options::{Check, RunOptions, Wave};
pub use outcome::{Outcome, SkipReason, TenantReport};
pub use partition::Partition;
pub use plan::{Applied, Divergence, OutOfOrder, TenantPlan, plan};
pub use repair::{Change, Difference, Survey, baseline, repair, survey};
pub use retry::Retry;
pub use run::{plan_all, run, run_sets};
pub use stop::Stop;
pub use target::Target;
pub use wave::assign_waves;

pub(crate) use lock_and_read::find as find_history;

use crate::{ConnectOptions, Error, Login, SearchPath, Server, Session};

/// Connects to a tenant's database so that its files find what any other program would.
///
/// # Errors
/// Those of [`connect`](crate::connect).
async fn connect(server: &Server, login: &Login, options: &ConnectOptions) -> Result<Session, Error> {
    let options = ConnectOptions { search_path: SearchPath::Own, ..options.clone() };
    crate::connect(server, login, &options).await
}

fn subject(tenant: &str) -> String {
    format!("tenant {tenant}")
}
