//! Many tenants: their secrets, their creation, and the end of one.

#![expect(clippy::unwrap_used, reason = "a test that cannot prepare itself has failed")]

mod create;
mod drop;
mod secret;
