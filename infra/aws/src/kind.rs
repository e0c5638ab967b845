//! One module for each resource kind: it lists, creates or repairs, and deletes resources of that kind.
//!
//! Architecture invariant: no kind knows the order of a plan. `step` chooses the kind that does a step.

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
