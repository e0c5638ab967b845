//! Plans, findings and bills for accounts in every state.

#![expect(clippy::unwrap_used, reason = "a test that panics has found what it looks for")]

mod adopt;
mod cost;
mod diagnosis;
mod finding;
mod fixture;
mod mismatch;
mod plan;
mod property;
mod receipt;
mod repair;
mod resource_entry;
mod stray;
mod world;
