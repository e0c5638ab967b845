//! The tasks, a file each.

pub mod adopt;
pub mod audit;
pub mod bastion;
pub mod completions;
pub mod cost;
pub mod demo;
pub mod doctor;
pub mod down;
pub mod env;
pub mod exec;
pub mod iam;
pub mod man;
pub mod migrate;
pub mod plan;
pub mod psql;
pub mod release;
pub mod resources;
pub mod sandbox;
pub mod secret;
pub mod status;
pub mod sweep;
pub mod tenant;
pub mod tunnel;
pub mod up;
