//! Many tenants: their secrets, their creation, and the end of one.

mod create;
mod drop;
mod secret;
