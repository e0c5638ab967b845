//! A private PostgreSQL cluster, one for each RDS instance.

mod account;
mod container;
mod docker;
mod locale;
mod programs;
pub(crate) mod role;
mod scripts;
mod socket;
mod template;

pub(crate) use account::{keep_out_others, may_enter_all};
pub use container::{ContainerFile, ContainerServer};
pub use programs::{PostgresSource, Programs};
pub(crate) use role::ADMIN;
pub(crate) use socket::Socket;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use self::scripts::SERVE;
use crate::Error;
use crate::gateway::Password;
use crate::process::Attached;

const READY_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// What a cluster is to be.
#[derive(Clone, Debug)]
pub struct ClusterSpec {
    /// Its folder; what was in it before is removed.
    pub dir: PathBuf,
    /// Where its log goes.
    pub log: PathBuf,
    /// The master user, who may make databases and roles but is no superuser.
    pub master_user: String,
    /// The master user's password.
    pub master_password: Password,
    /// The database to make at the start, owned by the master user.
    pub database: Option<String>,
}

/// Where a cluster's server comes from.
#[derive(Clone, Debug)]
pub enum ClusterServer {
    /// Programs on this machine, with the folder that templates are cached in.
    Programs {
        /// The programs.
        programs: Programs,
        /// The cache.
        cache: PathBuf,
    },
    /// A Docker image.
    Docker {
        /// Its name with the tag.
        image: String,
    },
}

/// A running cluster. It ends when this is dropped, and when the process that holds it is killed.
pub struct Cluster {
    server: Attached,
    socket: Arc<Socket>,
    dir: PathBuf,
}

impl Cluster {
    /// Starts a cluster with its master user and database, and waits until it answers.
    ///
    /// # Errors
    /// [`Error::NotReady`] with the end of its log; others say what is missing.
    pub async fn start(from: &ClusterServer, spec: ClusterSpec) -> Result<Cluster, Error> {
        remove(&spec.dir)?;
        let (from, dir) = (from.clone(), spec.dir.clone());
        // Copying and, the first time, initdb: tens of milliseconds to a second.
        let prepared = tokio::task::spawn_blocking(move || prepare(&from, &dir)).await;
        let command = prepared.expect("invariant: preparing does not panic")?;
        let log = crate::create_log(&spec.log).map_err(Error::file("create", &spec.log))?;
        let stdout = log.try_clone().map_err(Error::file("open", &spec.log))?;
        let server = Attached::spawn(command, &log, Stdio::from(stdout))?;
        let socket = Arc::new(Socket::new(&spec.dir.join("socket"))?);
        let mut cluster = Cluster { server, socket, dir: spec.dir.clone() };
        match cluster.set_up(&spec).await {
            Ok(()) => Ok(cluster),
            Err(error) => {
                cluster.stop().await.ok();
                Err(error)
            }
        }
    }

    /// Changes a role's password.
    ///
    /// # Errors
    /// [`Error::Sql`] if there is no such role.
    pub async fn set_password(&self, user: &str, password: &Password) -> Result<(), Error> {
        role::set_password(&role::connect(&self.socket).await?, user, password).await
    }

    /// Returns the way to the server's socket.
    pub(crate) fn socket(&self) -> Arc<Socket> {
        Arc::clone(&self.socket)
    }

    /// Ends the server, waits until it is gone, and removes its data.
    ///
    /// # Errors
    /// [`Error::File`] if the data cannot be removed.
    pub async fn stop(self) -> Result<(), Error> {
        self.server.stop(STOP_LIMIT).await;
        remove(&self.dir)
    }

    async fn set_up(&mut self, spec: &ClusterSpec) -> Result<(), Error> {
        let client = self.wait_until_ready(&spec.log).await?;
        role::create_master(&client, &spec.master_user, &spec.master_password).await?;
        if let Some(database) = &spec.database {
            role::create_database(&client, database, &spec.master_user).await?;
        }
        Ok(())
    }

    async fn wait_until_ready(&mut self, log: &Path) -> Result<tokio_postgres::Client, Error> {
        let deadline = Instant::now() + READY_LIMIT;
        loop {
            if let Ok(client) = role::connect(&self.socket).await {
                return Ok(client);
            }
            if self.server.has_ended() || Instant::now() > deadline {
                return Err(Error::not_ready("PostgreSQL", log.to_owned()));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// Makes the template that clusters are copied from, if need be.
pub(crate) fn prepare_template(from: &ClusterServer) -> Result<(), Error> {
    match from {
        ClusterServer::Docker { .. } => Ok(()),
        ClusterServer::Programs { programs, cache } => template::ensure(programs, cache).map(drop),
    }
}

/// Makes the cluster's files and returns the command that serves them.
fn prepare(from: &ClusterServer, dir: &Path) -> Result<Command, Error> {
    match from {
        ClusterServer::Docker { image } => docker::prepare(image, dir),
        ClusterServer::Programs { programs, cache } => {
            let template = template::ensure(programs, cache)?;
            programs.account.create_dir(dir)?;
            programs.account.create_dir(&dir.join("socket"))?;
            let data = dir.join("data");
            crate::process::run(programs.command("cp").arg("-R").arg(template).arg(&data).current_dir(dir))?;
            let mut command = programs.command("sh");
            command.args(["-c", SERVE, "serve"]).arg(programs.path("postgres")).arg("-D").arg(&data);
            command.current_dir(dir);
            Ok(command)
        }
    }
}

fn remove(dir: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::file("remove", dir)(error)),
        _ => Ok(()),
    }
}
