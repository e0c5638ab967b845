//! What needs more than one crate: one binary, so that the AWS SDK is linked once.

mod adopt;
mod alarms;
mod bastion;
mod cli;
mod connections;
mod containers;
mod db;
mod doctor;
mod env;
mod fault;
mod flow;
mod iam;
mod killed;
mod layers;
mod lint;
mod migrate;
mod pages;
mod postgres;
mod power;
mod registry;
mod release;
mod rotate;
mod shell;
mod soak;
mod teardown;
mod tenants;
