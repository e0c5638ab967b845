//! What holds without a PostgreSQL server. Tests against a real one are in the package `tests`.

#![expect(clippy::unwrap_used, reason = "a test that cannot prepare itself has failed")]

mod answer;
mod answers;
mod connect;
mod fake;
mod lint;
mod migration;
mod quote;
mod tenant;
