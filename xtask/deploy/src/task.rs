//! The tasks, a file each.

pub mod audit;
pub mod bastion;
pub mod completions;
pub mod cost;
pub mod demo;
pub mod doctor;
pub mod down;
pub mod drop;
pub mod exec;
mod history;
pub mod join;
pub mod lint;
pub mod man;
pub mod matrix;
pub mod migrate;
pub mod plan;
pub mod power;
pub mod psql;
pub mod release;
pub mod sandbox;
pub mod secret;
pub mod status;
pub mod sweep;
pub mod tenant;
pub mod tunnel;
pub mod up;
