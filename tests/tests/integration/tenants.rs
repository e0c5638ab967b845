//! Many tenants: their secrets, their creation, and the end of one.

mod create;
mod disk;
mod drop;
mod secret;
