//! The gateway through its public interface: alone over a stub, in front of moto, and in front of two.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "what helps a test may panic and print as a test may"
)]

mod client;
mod databases;
mod faults;
mod fixture;
mod instances;
mod passing;
mod remote;
mod sessions;
mod split;
mod strangers;
mod stub;
#[path = "../support/mod.rs"]
mod support;
