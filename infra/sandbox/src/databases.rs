//! The real databases behind the RDS instances of a sandbox.

use std::path::{Path, PathBuf};

use futures_util::future::BoxFuture;

use crate::gateway::{DatabaseSpec, Databases, Password};
use crate::slots::Slots;
use crate::{
    Authority, Cluster, ClusterServer, ClusterSpec, Directory, Error, Front, PostgresSource, Programs,
    Progress, Runtime,
};

/// Where the real databases get their programs from, and where they keep their files.
#[derive(Clone)]
pub(crate) struct Supply {
    pub(crate) source: PostgresSource,
    pub(crate) runtime: Option<Runtime>,
    pub(crate) cache: PathBuf,
    pub(crate) dir: PathBuf,
    pub(crate) progress: Progress,
}

impl Supply {
    /// Returns what a cluster of that major version is started from. Blocks.
    pub(crate) fn server(&self, major: u16) -> Result<ClusterServer, Error> {
        let progress = |line: &str| (self.progress)(line);
        let host = || Programs::host(major, &self.cache, &self.dir, &progress);
        let programs = match (&self.source, &self.runtime) {
            (PostgresSource::Docker(image), _) => return Ok(ClusterServer::Docker { image: image.clone() }),
            (PostgresSource::Wheel, Some(runtime)) => {
                Programs::wheel(runtime, major, &self.cache, &self.dir, &progress)?
            }
            // No Python, so that moto runs in a container: there is Docker.
            (PostgresSource::Wheel, None) => match host() {
                Err(Error::NoPostgres { .. }) => return Ok(ClusterServer::Docker { image: image(major) }),
                found => found?,
            },
            (PostgresSource::Host, _) => host()?,
        };
        Ok(ClusterServer::Programs { programs, cache: self.cache.clone() })
    }
}

/// One cluster for each instance, reachable under the instance's endpoint through agents alone.
pub(crate) struct Clusters {
    supply: Supply,
    authority: Authority,
    directory: Directory,
    slots: Slots<Running>,
}

struct Running {
    cluster: Cluster,
    endpoint: String,
}

impl Clusters {
    pub(crate) fn new(supply: Supply, authority: Authority, directory: Directory) -> Clusters {
        Clusters { supply, authority, directory, slots: Slots::default() }
    }

    /// Stops every cluster.
    pub(crate) async fn stop(&self) -> Result<(), Error> {
        for identifier in self.slots.identifiers() {
            self.stop_one(&identifier).await?;
        }
        // Every cluster has removed its own folder by now.
        std::fs::remove_dir(self.supply.dir.join(FOLDER)).ok();
        Ok(())
    }

    async fn start_one(&self, spec: DatabaseSpec) -> Result<(), Error> {
        let slot = self.slots.get(&spec.identifier);
        let mut slot = slot.lock().await;
        if let Some(Running { cluster, endpoint }) = slot.take() {
            self.directory.remove(&endpoint);
            cluster.stop().await?;
        }
        let major = major(&spec.engine_version);
        let supply = self.supply.clone();
        let server = tokio::task::spawn_blocking(move || supply.server(major)).await;
        let server = server.expect("invariant: looking for programs does not panic")?;
        let cluster = Cluster::start(&server, cluster_spec(&self.supply.dir, &spec)).await?;
        let front = Front::new(&self.authority, &spec.endpoint, &cluster)?;
        self.directory.insert(&spec.endpoint, spec.port, front);
        *slot = Some(Running { cluster, endpoint: spec.endpoint });
        Ok(())
    }

    async fn stop_one(&self, identifier: &str) -> Result<(), Error> {
        let slot = self.slots.get(identifier);
        if let Some(Running { cluster, endpoint }) = slot.lock().await.take() {
            self.directory.remove(&endpoint);
            cluster.stop().await?;
        }
        Ok(())
    }

    async fn change_password(&self, identifier: &str, user: &str, password: &Password) -> Result<(), Error> {
        let slot = self.slots.get(identifier);
        match slot.lock().await.as_ref() {
            Some(running) => running.cluster.set_password(user, password).await,
            None => Err(Error::NoDatabase { identifier: identifier.to_owned() }),
        }
    }
}

impl Databases for Clusters {
    fn create(&self, spec: DatabaseSpec) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { self.start_one(spec).await.map_err(|error| error.chain()) })
    }

    fn set_password(
        &self,
        identifier: &str,
        user: &str,
        password: Password,
    ) -> BoxFuture<'_, Result<(), String>> {
        let (identifier, user) = (identifier.to_owned(), user.to_owned());
        Box::pin(async move {
            self.change_password(&identifier, &user, &password).await.map_err(|error| error.chain())
        })
    }

    fn delete(&self, identifier: &str) -> BoxFuture<'_, Result<(), String>> {
        let identifier = identifier.to_owned();
        Box::pin(async move { self.stop_one(&identifier).await.map_err(|error| error.chain()) })
    }
}

fn cluster_spec(dir: &Path, spec: &DatabaseSpec) -> ClusterSpec {
    // AWS gives identifiers of letters, digits and hyphens only; nothing else may become a path.
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || *c == '-';
    let name: String = spec.identifier.chars().filter(is_plain).collect();
    ClusterSpec {
        dir: dir.join(FOLDER).join(&name),
        log: dir.join(format!("postgres-{name}.log")),
        master_user: spec.master_user.clone(),
        master_password: spec.master_password.clone(),
        database: spec.database_name.clone(),
    }
}

/// Returns the Docker image of that major version; `DRAWBRIDGE_IMAGE_POSTGRES` names another.
fn image(major: u16) -> String {
    std::env::var("DRAWBRIDGE_IMAGE_POSTGRES").unwrap_or_else(|_| format!("postgres:{major}"))
}

/// Where the clusters are, in the sandbox's folder.
const FOLDER: &str = "postgres";

/// Returns 16 for `16.4`.
fn major(version: &str) -> u16 {
    version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(DEFAULT_MAJOR)
}

/// The version that databases have unless asked otherwise.
pub(crate) const DEFAULT_MAJOR: u16 = 16;
