//! A PostgreSQL client in front of a cluster.

use std::path::Path;
use std::sync::Arc;

use sandbox::{Authority, Cluster, ClusterServer, Front};
use tokio::io::DuplexStream;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::cluster::{programs, spec};
use crate::support::cache;

pub(crate) async fn start(dir: &Path, major: u16) -> Cluster {
    let server = ClusterServer::Programs { programs: programs(dir, major), cache: cache() };
    Cluster::start(&server, spec(dir)).await.unwrap()
}

/// Opens a connection to the front, as the agent does: in memory, without a port.
pub(crate) fn dial(front: &Front) -> DuplexStream {
    let (near, far) = tokio::io::duplex(64 << 10);
    let front = front.clone();
    tokio::spawn(async move { front.serve(far).await });
    near
}

pub(crate) fn config(user: &str, password: &str, database: &str) -> Config {
    let mut config = Config::new();
    config.user(user).password(password).dbname(database).ssl_mode(SslMode::Require);
    config
}

/// Returns what trusts that authority alone and checks the name of the server.
pub(crate) fn tls(
    authority: &Authority,
    name: &str,
) -> impl TlsConnect<DuplexStream, Stream: Send + 'static> + use<> {
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
pub(crate) async fn connect(
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
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line = format!("{line}: {error}");
        cause = error.source();
    }
    line
}
