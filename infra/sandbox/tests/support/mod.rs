//! What the tests of the sandbox share.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sandbox::gateway::Password;
use sandbox::{Authority, Cluster, ClusterServer, ClusterSpec, Front, Programs, Runtime};
use tempfile::TempDir;
use tokio::io::DuplexStream;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// The endpoint of the databases in these tests. It resolves nowhere.
pub const ENDPOINT: &str = "main.c0ffee.us-east-1.rds.amazonaws.com";
pub const MASTER: &str = "master";
pub const PASSWORD: &str = "correct horse battery staple";

/// Returns the folder that all sandboxes of this workspace share.
pub fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("sandbox")
}

/// Returns the virtual environment; the first test of all makes it.
pub fn runtime() -> Runtime {
    Runtime::ensure(&cache(), &|line| println!("{line}")).unwrap()
}

/// Returns an empty folder below the target directory that everybody may enter.
pub fn folder() -> TempDir {
    let everybody = Permissions::from_mode(0o755);
    tempfile::Builder::new().permissions(everybody).tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

pub fn programs(dir: &Path, major: u16) -> Programs {
    Programs::wheel(&runtime(), major, &cache(), dir, &|line| println!("{line}")).unwrap()
}

pub async fn cluster(dir: &Path, major: u16) -> Cluster {
    let server = ClusterServer::Programs { programs: programs(dir, major), cache: cache() };
    Cluster::start(&server, spec(dir)).await.unwrap()
}

pub fn spec(dir: &Path) -> ClusterSpec {
    ClusterSpec {
        dir: dir.join("cluster"),
        log: dir.join("postgres.log"),
        master_user: MASTER.to_owned(),
        master_password: Password::new(PASSWORD),
        database: Some("first".to_owned()),
    }
}

/// Opens a connection to the front, as the agent does: in memory, without a port.
pub fn dial(front: &Front) -> DuplexStream {
    let (near, far) = tokio::io::duplex(64 << 10);
    let front = front.clone();
    tokio::spawn(async move { front.serve(far).await });
    near
}

pub fn config(user: &str, password: &str, database: &str) -> Config {
    let mut config = Config::new();
    config.user(user).password(password).dbname(database).ssl_mode(SslMode::Require);
    config
}

/// Returns what trusts that authority alone and checks the name of the server.
pub fn tls(authority: &Authority, name: &str) -> impl TlsConnect<DuplexStream, Stream: Send + 'static> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority.pem().as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    MakeTlsConnect::<DuplexStream>::make_tls_connect(&mut MakeRustlsConnect::new(config), name).unwrap()
}

/// Logs in over the stream, by TLS with the server's name checked.
pub async fn connect(
    stream: DuplexStream,
    config: &Config,
    authority: &Authority,
    name: &str,
) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = config.connect_raw(stream, tls(authority, name)).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Returns an error with all its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line = format!("{line}: {error}");
        cause = error.source();
    }
    line
}
