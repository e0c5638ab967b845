//! What holds without a PostgreSQL server. Tests against a real one are in the package `tests`.

mod connect;
mod fake;
mod migration;
mod quote;
mod tenant;
