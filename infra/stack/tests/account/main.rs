//! Plans, findings and bills for accounts in every state.

mod cost;
mod finding;
mod fixture;
mod plan;
mod property;
mod repair;
mod world;
