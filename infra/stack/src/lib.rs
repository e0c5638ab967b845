//! The pure heart of Drawbridge: configuration, inventory, plan, cost, findings, policies, events.
//!
//! Architecture invariant: no I/O, no clock, no async. Everything here can be tested with values alone.

mod class;
mod secret;

pub mod adopt;
pub mod alarm;
pub mod config;
pub mod cost;
pub mod diagnosis;
pub mod env;
pub mod event;
pub mod finding;
pub mod inventory;
pub mod mismatch;
pub mod network_context;
pub mod plan;
pub mod policy;
pub mod receipt;
pub mod resource;
pub mod resource_entry;
pub mod spec;
pub mod stray;

pub use config::ConfigError;
pub use cost::Bill;
pub use diagnosis::Diagnosis;
pub use event::{Event, Events};
pub use finding::Finding;
pub use inventory::Inventory;
pub use plan::Plan;
pub use receipt::Receipt;
pub use resource::{Component, Resource};
pub use resource_entry::Entry;
pub use secret::Secret;
pub use spec::Stack;
