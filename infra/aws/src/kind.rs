//! The resource kinds, a module each: how one is listed, made to be as the stack file wants it, and deleted.
//!
//! Architecture invariant: nothing in here knows a plan. `step` decides which kind does a step.

pub(crate) mod alarm;
pub(crate) mod database;
pub(crate) mod instance;
pub(crate) mod internet_gateway;
pub(crate) mod log_group;
pub(crate) mod master_secret;
pub(crate) mod network_context;
pub(crate) mod network_interface;
pub(crate) mod profile;
pub(crate) mod role;
pub(crate) mod route_table;
pub mod secret;
pub(crate) mod security_group;
pub(crate) mod subnet;
pub(crate) mod subnet_group;
pub(crate) mod topic;
pub(crate) mod volume;
pub(crate) mod vpc;
