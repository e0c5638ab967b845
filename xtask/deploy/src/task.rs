//! The tasks, a file each.

pub mod audit;
pub mod bastion;
pub mod completions;
pub mod demo;
pub mod down;
pub mod drop;
pub mod env;
pub mod exec;
mod history;
pub mod iam;
pub mod join;
pub mod lint;
pub mod matrix;
pub mod migrate;
pub mod plan;
pub mod psql;
pub mod sandbox;
pub mod secret;
pub mod status;
pub mod tenant;
pub mod tunnel;
pub mod up;
