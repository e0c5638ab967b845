//! Databases in containers on a private network, behind the RDS instances of a gateway.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::gateway::{DatabaseSpec, Databases, Password};
use crate::postgres::{ContainerServer, role};
use crate::slots::Slots;
use crate::{Authority, Error};

/// Runs containers; the errors are texts to report.
pub trait Containers: Send + Sync + 'static {
    /// Starts a server, found under its endpoint's name on the private network and nowhere else; done when it accepts
    /// connections.
    fn start(&self, server: ContainerServer) -> BoxFuture<'_, Result<(), String>>;

    /// Runs SQL as the superuser inside the container of that identifier: [`ContainerServer::PSQL`] does, with the SQL on
    /// its stdin. It holds no clear password, but does not belong in argv even so.
    fn execute(&self, identifier: &str, sql: String) -> BoxFuture<'_, Result<(), String>>;

    /// Removes the container of that identifier and its data; one that is not there counts as removed.
    fn remove(&self, identifier: &str) -> BoxFuture<'_, Result<(), String>>;
}

/// One container for each RDS instance, with what RDS itself would have set up in it.
pub struct ContainerDatabases {
    authority: Authority,
    containers: Arc<dyn Containers>,
    slots: Slots<Running>,
}

/// A container was started and not removed.
struct Running;

impl ContainerDatabases {
    /// Returns databases whose certificates `authority` issues.
    pub fn new(authority: Authority, containers: Arc<dyn Containers>) -> ContainerDatabases {
        ContainerDatabases { authority, containers, slots: Slots::default() }
    }

    /// Returns the certificate that the databases' clients must trust.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Removes every container.
    ///
    /// # Errors
    /// The texts of all that could not be removed.
    pub async fn stop(&self) -> Result<(), String> {
        let mut failures = Vec::new();
        for identifier in self.slots.identifiers() {
            failures.extend(self.delete(&identifier).await.err());
        }
        if failures.is_empty() { Ok(()) } else { Err(failures.join("; ")) }
    }

    async fn start(&self, spec: DatabaseSpec) -> Result<(), String> {
        let slot = self.slots.get(&spec.identifier);
        let mut slot = slot.lock().await;
        if slot.take().is_some() {
            self.containers.remove(&spec.identifier).await?;
        }
        let identity = self.authority.issue(&spec.endpoint).map_err(|error| error.chain())?;
        // From here on there may be something to remove, even if this fails.
        *slot = Some(Running);
        self.containers.start(ContainerServer::new(&spec, &identity)).await?;
        let mut sql = role::master(&spec.master_user, &spec.master_password);
        if let Some(database) = &spec.database_name {
            sql.push_str(&role::database(database, &spec.master_user));
        }
        self.containers.execute(&spec.identifier, sql).await
    }
}

impl Databases for ContainerDatabases {
    fn create(&self, spec: DatabaseSpec) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(self.start(spec))
    }

    fn set_password(
        &self,
        identifier: &str,
        user: &str,
        password: Password,
    ) -> BoxFuture<'_, Result<(), String>> {
        let (identifier, user) = (identifier.to_owned(), user.to_owned());
        Box::pin(async move {
            let slot = self.slots.get(&identifier);
            if slot.lock().await.is_none() {
                return Err(Error::NoDatabase { identifier }.chain());
            }
            self.containers.execute(&identifier, role::password(&user, &password)).await
        })
    }

    fn delete(&self, identifier: &str) -> BoxFuture<'_, Result<(), String>> {
        let identifier = identifier.to_owned();
        Box::pin(async move {
            let slot = self.slots.get(&identifier);
            let mut slot = slot.lock().await;
            if slot.is_some() {
                self.containers.remove(&identifier).await?;
                *slot = None;
            }
            Ok(())
        })
    }
}

impl std::fmt::Debug for ContainerDatabases {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ContainerDatabases").field("authority", &self.authority).finish_non_exhaustive()
    }
}
