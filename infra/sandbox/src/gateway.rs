//! An HTTP server that stands in front of moto and behaves like AWS where moto does not.

mod database;
mod session;

pub use database::{DatabaseSpec, Databases, NoDatabases, Password};
pub use session::{Agent, AgentSession};
