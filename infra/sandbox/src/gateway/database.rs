//! The interface to the real databases behind RDS.

use futures_util::future::BoxFuture;

use super::password::Password;

/// A database instance as `CreateDBInstance` asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseSpec {
    /// The region and the identifier of the RDS instance: two regions may have the same identifier.
    pub identifier: String,
    /// The host name of the endpoint. It resolves nowhere; only the agent knows where it leads.
    pub endpoint: String,
    /// The port of the endpoint.
    pub port: u16,
    /// The engine version as asked for: `17`, `17.6`.
    pub engine_version: String,
    /// The master user's name.
    pub master_user: String,
    /// The master user's password.
    pub master_password: Password,
    /// The database to create at the start.
    pub database_name: Option<String>,
}

/// Runs the databases that RDS instances stand for.
pub trait Databases: Send + Sync + 'static {
    /// Starts a database; done when it accepts connections. The error is the text to report.
    fn create(&self, spec: DatabaseSpec) -> BoxFuture<'_, Result<(), String>>;

    /// Changes the master user's password.
    fn set_password(
        &self,
        identifier: &str,
        user: &str,
        password: Password,
    ) -> BoxFuture<'_, Result<(), String>>;

    /// Stops a database and removes its data; one that is not there counts as removed.
    fn delete(&self, identifier: &str) -> BoxFuture<'_, Result<(), String>>;
}

/// The control plane only: every database is available at once and nothing listens.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDatabases;

impl Databases for NoDatabases {
    fn create(&self, _spec: DatabaseSpec) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }

    fn set_password(
        &self,
        _identifier: &str,
        _user: &str,
        _password: Password,
    ) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }

    fn delete(&self, _identifier: &str) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }
}
