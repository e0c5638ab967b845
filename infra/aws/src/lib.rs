//! The only crate that names the AWS SDK: looks at a stack, brings it up, takes it down, opens sessions.
//!
//! Architecture invariant: nothing is printed and nothing is kept on disk. Tags and fixed names are the only memory,
//! so whatever a run that was cut off has left behind is found by the next one.

mod apply;
mod audit;
mod belong;
mod blocker;
mod clock;
mod cloud;
mod course;
mod error;
mod examine;
mod login;
mod observe;
mod once;
mod poll;
mod proof;
mod reboot;
mod state;
mod step;
mod stop;
mod surroundings;
mod tag;
mod teardown;
mod user_data;

mod alarm;
mod database;
mod gateway;
mod instance;
mod interface;
mod log_group;
mod password;
mod profile;
mod role;
mod route_table;
mod security_group;
mod subnet;
mod subnet_group;
mod topic;
mod volume;
mod vpc;

pub mod adopt;
pub mod bastion;
pub mod kms;
pub mod lock;
pub mod secret;
pub mod session;

pub use apply::{ApplyError, ApplyOptions, Ephemeral, apply};
pub use audit::{audit, unseen};
pub use cloud::{Cloud, Identity};
pub use error::{Error, Kind};
pub use examine::{Depth, examine};
pub use observe::observe;
pub use reboot::reboot;
pub use stop::Stop;
pub use teardown::{Teardown, teardown};
