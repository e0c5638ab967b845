//! AWS on a laptop: a gateway in front of moto or LocalStack, an SSM agent, and a private PostgreSQL behind TLS.

pub mod gateway;

mod agent;
mod agent_protocol;
mod cache;
mod containers;
mod databases;
pub mod detached;
mod error;
mod folder_lock;
pub mod localstack;
mod log;
mod moto;
mod postgres;
mod process;
mod progress;
mod runtime;
mod sandbox;
mod slots;
mod tls;
mod tls_proxy;

pub use agent::{
    Agent, AgentOptions, Challenge, Dialer, Directory, Encryption, LineFaults, Pacing, ProgramSettings,
    SettingsError, StartUp, run_agent,
};
pub use containers::{ContainerDatabases, Containers};
pub use error::Error;
pub use log::create_log;
pub use moto::{Moto, MotoSource};
pub use postgres::{
    Cluster, ClusterServer, ClusterSpec, ContainerFile, ContainerServer, PostgresSource, Programs,
};
pub use progress::Progress;
pub use runtime::{REQUIREMENTS, Runtime, find_python};
pub use sandbox::{DatabaseMode, Options, Sandbox, Tuning};
pub use tls::{Authority, Identity, KeyKind};
pub use tls_proxy::Front;
