//! A whole sandbox: moto, the gateway in front of it, agents, databases.

use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::spawn_blocking;

use crate::databases::{Clusters, DEFAULT_MAJOR, Supply};
use crate::gateway::{self, Databases, Emulator, Gateway, Kms, Network, NoDatabases, Upstreams};
use crate::{
    Agent, AgentOptions, Authority, Dialer, Directory, Error, KeyKind, Moto, MotoSource, PostgresSource,
    Progress, Runtime, folder_lock, postgres,
};

/// What is changed in the gateway's options before it starts.
pub type Tuning = Arc<dyn Fn(&mut gateway::Options) + Send + Sync>;

/// What a sandbox is to be.
#[derive(Clone)]
pub struct Options {
    /// Its own folder: logs, certificate, the databases' files.
    pub dir: PathBuf,
    /// The folder that sandboxes share: virtual environment, locale, templates.
    pub cache: PathBuf,
    /// The region that its environment names.
    pub region: String,
    /// Where PostgreSQL comes from.
    pub postgres: PostgresSource,
    /// The kind of the databases' keys.
    pub key: KeyKind,
    /// Whether databases are real.
    pub databases: DatabaseMode,
    /// The habits of its agents.
    pub agent: AgentOptions,
    /// The habits of its gateway.
    pub tune: Tuning,
    /// Where lines about slow work go.
    pub progress: Progress,
}

/// Whether databases are real.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DatabaseMode {
    /// Each RDS instance has a PostgreSQL.
    #[default]
    Real,
    /// RDS answers, but nothing stands behind it.
    ControlPlaneOnly,
}

impl Options {
    /// Returns the options for everyday use, silent.
    pub fn new(dir: impl Into<PathBuf>, cache: impl Into<PathBuf>) -> Options {
        Options {
            dir: dir.into(),
            cache: cache.into(),
            region: "us-east-1".to_owned(),
            postgres: PostgresSource::default(),
            key: KeyKind::default(),
            databases: DatabaseMode::default(),
            agent: AgentOptions::default(),
            tune: Arc::new(|_| ()),
            progress: Arc::new(|_| ()),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("dir", &self.dir).field("cache", &self.cache).finish_non_exhaustive()
    }
}

/// A running sandbox. All its processes end when this is dropped, and when the process that holds it is killed.
pub struct Sandbox {
    gateway: Gateway,
    moto: Moto,
    clusters: Option<Arc<Clusters>>,
    dir: PathBuf,
    region: String,
    // Released last: who holds it owns the folder.
    _lock: File,
}

impl Sandbox {
    /// Starts a sandbox; done when its endpoint answers.
    ///
    /// The first start of all takes a minute, for it installs moto and PostgreSQL in the cache.
    ///
    /// # Errors
    /// [`Error::AlreadyRunning`] if the folder is in use; others say what is missing.
    pub async fn start(mut options: Options) -> Result<Sandbox, Error> {
        options.progress = without_repetition(options.progress);
        // The working directory of servers is not ours.
        let dir = absolute(&options.dir)?;
        let cache = absolute(&options.cache)?;
        postgres::keep_out_others(&dir)?;
        let lock = folder_lock::lock(&dir)?;
        let authority = spawn_blocking(move || Authority::new(options.key));
        let (source, runtime) = moto_source(&cache, &options.progress).await?;

        let supply = Supply {
            source: options.postgres,
            runtime,
            cache,
            dir: dir.clone(),
            progress: Arc::clone(&options.progress),
        };
        let (moto, ready) =
            tokio::join!(Moto::start(&source, &dir), prepare(supply.clone(), options.databases));
        let (moto, ()) = (moto?, ready?);

        let authority = authority.await.expect("invariant: making a key does not panic")?;
        authority.write_pem(&dir.join(CA_FILE))?;
        let directory = Directory::default();
        let network = Network::new(moto.emulator());
        let kms = Kms::beside(&network);
        let dialer = Dialer::new(directory.clone(), network);
        let agent = Arc::new(Agent::new(options.agent, dialer).with_kms(kms));
        let clusters = match options.databases {
            DatabaseMode::Real => Some(Arc::new(Clusters::new(supply, authority, directory))),
            DatabaseMode::ControlPlaneOnly => None,
        };
        let databases: Arc<dyn Databases> = match clusters.clone() {
            Some(clusters) => clusters,
            None => Arc::new(NoDatabases),
        };
        let mut gateway = gateway::Options::new(Upstreams::one(moto.emulator()), agent, databases);
        (options.tune)(&mut gateway);
        let gateway = Gateway::start(gateway).await?;
        Ok(Sandbox { gateway, moto, clusters, dir, region: options.region, _lock: lock })
    }

    /// Returns what clients take as their endpoint: `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        self.gateway.endpoint()
    }

    /// Returns the file with the certificate that the databases' clients must trust.
    pub fn ca_file(&self) -> PathBuf {
        self.dir.join(CA_FILE)
    }

    /// Returns the variables that point AWS's programs, and this one, at the sandbox. The key is among them.
    pub fn environment(&self) -> Vec<(String, String)> {
        let ca_file = self.ca_file().display().to_string();
        let variables = [
            ("AWS_ENDPOINT_URL", self.endpoint()),
            ("AWS_ACCESS_KEY_ID", self.gateway.key().id().to_owned()),
            ("AWS_SECRET_ACCESS_KEY", self.gateway.key().secret().expose().to_owned()),
            ("AWS_REGION", self.region.clone()),
            ("AWS_DEFAULT_REGION", self.region.clone()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("DRAWBRIDGE_CA_BUNDLE", ca_file),
        ];
        variables.map(|(name, value)| (name.to_owned(), value)).into()
    }

    /// Returns the gateway, for faults and the journal.
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// Returns the program behind the gateway.
    pub fn emulator(&self) -> Emulator {
        self.moto.emulator()
    }

    /// Returns what runs the databases, if they are real.
    pub fn databases(&self) -> Option<Arc<dyn Databases>> {
        self.clusters.clone().map(|clusters| clusters as Arc<dyn Databases>)
    }

    /// Returns the sandbox's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Ends everything and waits until it is gone. Logs stay.
    ///
    /// # Errors
    /// [`Error::File`] if the databases' files cannot be removed; all processes are gone even so.
    pub async fn stop(self) -> Result<(), Error> {
        self.gateway.stop().await;
        let databases = match &self.clusters {
            Some(clusters) => clusters.stop().await,
            None => Ok(()),
        };
        self.moto.stop().await;
        databases
    }
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox")
            .field("dir", &self.dir)
            .field("endpoint", &self.endpoint())
            .finish_non_exhaustive()
    }
}

const CA_FILE: &str = "rds-ca.pem";

/// Returns a sink for lines that tells each only once; every database would repeat the warnings.
fn without_repetition(progress: Progress) -> Progress {
    let told = Mutex::new(HashSet::new());
    Arc::new(move |line| {
        let is_new = told.lock().unwrap_or_else(PoisonError::into_inner).insert(line.to_owned());
        if is_new {
            progress(line);
        }
    })
}

/// Returns where moto comes from, and the virtual environment if there is Python for one.
async fn moto_source(cache: &Path, progress: &Progress) -> Result<(MotoSource, Option<Runtime>), Error> {
    let (cache, progress) = (cache.to_owned(), Arc::clone(progress));
    let found = spawn_blocking(move || match Runtime::ensure(&cache, &|line| progress(line)) {
        Ok(runtime) => Ok((MotoSource::Python(runtime.clone()), Some(runtime))),
        Err(error @ (Error::NoPython | Error::NoVenv { .. })) => {
            let docker = MotoSource::find_docker().ok_or(error)?;
            progress("there is no Python that could run moto; a Docker container does");
            Ok((docker, None))
        }
        Err(error) => Err(error),
    });
    found.await.expect("invariant: making the virtual environment does not panic")
}

/// Makes ready what databases of the usual version need, so that the first is there as fast as the second.
async fn prepare(supply: Supply, databases: DatabaseMode) -> Result<(), Error> {
    if databases == DatabaseMode::ControlPlaneOnly {
        return Ok(());
    }
    let prepared = spawn_blocking(move || postgres::prepare_template(&supply.server(DEFAULT_MAJOR)?));
    prepared.await.expect("invariant: making a template does not panic")
}

fn absolute(dir: &Path) -> Result<PathBuf, Error> {
    fs::create_dir_all(dir).map_err(Error::file("create", dir))?;
    fs::canonicalize(dir).map_err(Error::file("find", dir))
}
