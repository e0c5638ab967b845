//! A cluster in a container on a private network, which serves TLS itself.

use std::fmt;

use super::scripts::PREPARE;
use super::template;
use crate::gateway::DatabaseSpec;
use crate::tls::Identity;

/// On top of the usual settings; of two lines the later holds. Here servers are killed to see what is left: what is
/// committed must be with the kernel at least.
const SETTINGS: &str = "
listen_addresses = '*'
ssl = on
ssl_cert_file = '../server.crt'
ssl_key_file = '../server.key'
synchronous_commit = on
";

/// As on RDS with `rds.force_ssl`: nothing in the clear, and its superuser has no way in from the network.
const ACCESS: &str = "
local   all      rdsadmin     trust
local   all      all          reject
host    all      rdsadmin all reject
host    rdsadmin all      all reject
hostssl all      all      all scram-sha-256
";

/// A PostgreSQL that is to run in a container.
///
/// Any image will do that has PostgreSQL's programs on its path, `gosu` or `su-exec`, a user `postgres`, and the locale
/// en_US.UTF-8. A container that is started again goes on with its data.
#[derive(Clone, Debug)]
pub struct ContainerServer {
    /// The identifier of the RDS instance.
    pub identifier: String,
    /// The name under which the container must be found on the private network.
    pub endpoint: String,
    /// The port that it listens on.
    pub port: u16,
    /// The engine version as asked for: `17`, `17.6`.
    pub engine_version: String,
    /// The entry point and its arguments, in the place of the image's own.
    pub command: Vec<String>,
    /// Variables of its environment. None is secret.
    pub environment: Vec<(String, String)>,
    /// Files that must be there before it starts; only its root needs to read them.
    pub files: Vec<ContainerFile>,
}

/// A file in a container. Its contents are not shown.
#[derive(Clone)]
pub struct ContainerFile {
    /// Where it is to be.
    pub path: &'static str,
    /// What it is to hold.
    pub contents: String,
}

impl ContainerServer {
    /// A line of its log, on stderr, from when on it accepts connections.
    pub const READY: &'static str = "database system is ready to accept connections";

    /// The program that takes SQL on its stdin and runs it as the superuser, inside the container.
    pub const PSQL: [&'static str; 11] = [
        "psql",
        "--no-psqlrc",
        "--quiet",
        "--set=ON_ERROR_STOP=1",
        "--host=/cluster/socket",
        "--username=rdsadmin",
        "--dbname=postgres",
        "--no-password",
        "--output=/dev/null",
        "--file",
        "-",
    ];

    pub(crate) fn new(spec: &DatabaseSpec, identity: &Identity) -> ContainerServer {
        let variables = [
            ("SETTINGS", format!("{}{SETTINGS}port = {}\n", template::SETTINGS, spec.port)),
            ("ACCESS", ACCESS.to_owned()),
            ("EXTRAS", template::EXTRAS.to_owned()),
            // For psql, beside the server.
            ("PGPORT", spec.port.to_string()),
        ];
        let file = |path, contents: &str| ContainerFile { path, contents: contents.to_owned() };
        ContainerServer {
            identifier: spec.identifier.clone(),
            endpoint: spec.endpoint.clone(),
            port: spec.port,
            engine_version: spec.engine_version.clone(),
            command: ["sh", "-c", PREPARE].map(str::to_owned).to_vec(),
            environment: variables.map(|(name, value)| (name.to_owned(), value)).to_vec(),
            files: vec![
                file("/drawbridge/server.crt", identity.certificate()),
                file("/drawbridge/server.key", identity.expose_key()),
            ],
        }
    }
}

impl fmt::Debug for ContainerFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContainerFile").field("path", &self.path).finish_non_exhaustive()
    }
}
