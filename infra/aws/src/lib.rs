//! The only crate that names the AWS SDK: looks at a stack, brings it up, takes it down, opens sessions.
//!
//! Architecture invariant: modules name each other in one direction. At the bottom lie `error`, `cloud` and `stop`, then
//! `core`, then `kind` with one module for each resource kind; above them the tasks: `observe`, `audit`, `examine`, `step`,
//! `apply`, `teardown`. `session`, `lock` and `kms` are services of their own beside the kinds.
//!
//! Architecture invariant: nothing is printed and nothing is kept on disk. Tags and fixed names are the only memory,
//! so the next run finds whatever a run that was killed has left behind.

mod cloud;
mod error;
mod stop;

mod core;
mod kind;

mod apply;
mod audit;
mod examine;
mod observe;
mod ready;
mod reboot;
mod step;
mod teardown;

pub mod adopt;
pub mod bastion;
pub mod kms;
pub mod lock;
pub mod session;

pub use crate::core::job::{ApplyOptions, Ephemeral};
pub use crate::kind::secret;
pub use apply::{ApplyError, apply};
pub use audit::{audit, unseen};
pub use cloud::{Cloud, Identity};
pub use error::{Error, Kind};
pub use examine::{Depth, examine};
pub use observe::observe;
pub use reboot::reboot;
pub use stop::Stop;
pub use teardown::{Teardown, teardown};
