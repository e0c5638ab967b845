//! Tenant databases: connect, lock, create, migrate with refinery, verify.
//!
//! Architecture invariant: this crate never opens a socket. The caller's [`Dial`] gives a byte stream (through
//! the tunnel) for each connection, and nothing but a TLS handshake against the server's real name is spoken on
//! it. SQL text never holds a clear password, and every name in it goes through [`quote`].

mod error;
mod hash;
mod limit;
mod path;
mod server;
mod session;
mod tls;

pub mod disk;
pub mod link;
pub mod lock;
pub mod maintenance;
pub mod migrate;
pub mod migration;
pub mod quote;
pub mod role;
pub mod tenant;
pub mod verify;

pub use error::{Cause, Error, Kind, Recorded, Refusal};
pub use migration::Migration;
pub use path::SearchPath;
pub use server::{BoxStream, Dial, Login, Server};
pub use session::{ConnectOptions, SILENCE_LIMIT, Session, connect};
pub use tenant::TenantSpec;
pub use tls::{AUTH, Tls};
