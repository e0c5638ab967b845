//! What needs more than one crate: one binary, so that the AWS SDK is linked once.

mod bastion;
mod cli;
mod containers;
mod db;
mod fault;
mod flow;
mod layers;
mod lint;
mod migrate;
mod postgres;
mod registry;
mod rotate;
mod shell;
mod soak;
mod teardown;
mod tenants;
mod user_data;
