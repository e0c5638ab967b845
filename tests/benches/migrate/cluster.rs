//! A cluster with tenants by the hundred, and the ways to it.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use sandbox::gateway::Password;
use sandbox::{Authority, Cluster, ClusterServer, ClusterSpec, Front, KeyKind, Programs, Runtime};
use tokio::net::UnixStream;
use tokio_postgres::{Client, Config, NoTls};

use crate::process;
use crate::proxy::{Far, Open, Proxy};

pub(crate) const HOST: &str = "main.c0ffee.us-east-1.rds.amazonaws.com";
/// Whom all tenants belong to: a role of its own for each would change nothing that is measured.
pub(crate) const OWNER: &str = "tenant_app";
pub(crate) const PASSWORD: &str = "of the tenants";
/// The delay of a line, each way.
pub(crate) const DELAY: Duration = Duration::from_millis(20);

const SUPERUSER: &str = "rdsadmin";

/// Both ways in: with TLS, as `db` insists, and in the clear, for whoever can do without.
#[derive(Clone)]
pub(crate) struct Ways {
    pub(crate) tls: Proxy,
    pub(crate) clear: Proxy,
}

pub(crate) struct Tenants {
    cluster: Cluster,
    dir: Dir,
    admin: Client,
    socket: Arc<File>,
    postmaster: u32,
    made: usize,
    pub(crate) authority: String,
    pub(crate) near: Ways,
    pub(crate) far: Ways,
}

/// Removes the folder however this ends.
struct Dir(PathBuf);

impl Drop for Dir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

impl Tenants {
    pub(crate) async fn start(major: u16) -> Tenants {
        let (dir, cache) = (Dir(tests::fresh_dir()), tests::sandboxes());
        let said = |line: &str| eprintln!("{line}");
        let runtime = Runtime::ensure(&cache, &said).expect("PostgreSQL can be had");
        let programs = Programs::wheel(&runtime, major, &cache, &dir.0, &said).expect("it can be run");
        let place = dir.0.join("cluster");
        let spec = ClusterSpec {
            dir: place.clone(),
            log: dir.0.join("postgres.log"),
            master_user: "master".to_owned(),
            master_password: Password::new("of the master"),
            database: None,
        };
        let server = ClusterServer::Programs { programs, cache };
        let cluster = Cluster::start(&server, spec).await.expect("PostgreSQL starts");
        let socket = Arc::new(File::open(place.join("socket")).expect("the cluster has a socket"));
        let authority = Authority::new(KeyKind::Rsa).expect("a key can be made");
        let front = Front::new(&authority, HOST, &cluster).expect("a certificate can be made");
        let admin = log_in(&socket).await;
        // Else each file of each tenant is written to the log as well, which no server in use does, and autovacuum
        // comes in between whenever it likes.
        for sql in ["SET log_statement = 'none'", "SET autovacuum = off"] {
            run(&admin, &format!("ALTER SYSTEM {sql}")).await;
        }
        run(&admin, "SELECT pg_reload_conf()").await;
        run(&admin, &format!("CREATE ROLE {OWNER} LOGIN PASSWORD '{PASSWORD}'")).await;
        let pid = std::fs::read_to_string(place.join("data/postmaster.pid")).unwrap_or_default();
        let postmaster = pid.lines().next().and_then(|pid| pid.trim().parse().ok()).expect("the server runs");
        let (tls, clear) = (behind(front), directly(&socket));
        let near = Ways {
            tls: Proxy::start(Arc::clone(&tls), Duration::ZERO).await,
            clear: Proxy::start(Arc::clone(&clear), Duration::ZERO).await,
        };
        let far = Ways { tls: Proxy::start(tls, DELAY).await, clear: Proxy::start(clear, DELAY).await };
        let authority = authority.pem().to_owned();
        Tenants { cluster, dir, admin, socket, postmaster, made: 0, authority, near, far }
    }

    /// Makes databases that were never used. A migrated `template` costs no more than an empty one.
    pub(crate) async fn make(&mut self, count: usize, template: &str) -> Vec<String> {
        let names: Vec<String> = (self.made..self.made + count).map(|n| format!("tenant_{n}")).collect();
        self.made += count;
        // The other strategy costs two checkpoints each.
        let sql =
            |name: &str| format!("CREATE DATABASE {name} OWNER {OWNER} TEMPLATE {template} STRATEGY wal_log");
        self.each(&names, sql).await;
        names
    }

    pub(crate) async fn remove(&self, names: Vec<String>) {
        self.each(&names, |name| format!("DROP DATABASE {name} WITH (FORCE)")).await;
    }

    async fn each(&self, names: &[String], sql: impl Fn(&str) -> String) {
        let at_once = stream::iter(names.chunks(names.len().div_ceil(4).max(1)));
        at_once
            .for_each_concurrent(None, |names| {
                let sql = &sql;
                async move {
                    let client = log_in(&self.socket).await;
                    for name in names {
                        run(&client, &sql(name)).await;
                    }
                }
            })
            .await;
    }

    /// Returns the server's time so far, once every connection is over.
    pub(crate) async fn cpu(&self) -> Duration {
        const BUSY: &str = "SELECT count(*) FROM pg_stat_activity
             WHERE backend_type IN ('client backend', 'autovacuum worker') AND pid <> pg_backend_pid()";
        while self.admin.query_one(BUSY, &[]).await.expect("the server answers").get::<_, i64>(0) > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        process::family_cpu(self.postmaster)
    }

    /// Returns what a database takes on disk.
    pub(crate) async fn bytes(&self, name: &str) -> u64 {
        let row = self.admin.query_one("SELECT pg_database_size($1)", &[&name]).await;
        row.map_or(0, |row| u64::try_from(row.get::<_, i64>(0)).unwrap_or(0))
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir.0
    }

    pub(crate) async fn stop(self) {
        drop(self.admin);
        self.cluster.stop().await.expect("PostgreSQL stops");
    }
}

async fn run(client: &Client, sql: &str) {
    client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

/// Goes through a descriptor, as the path may be longer than a socket's may.
async fn open(socket: Arc<File>) -> io::Result<UnixStream> {
    UnixStream::connect(format!("/proc/self/fd/{}/.s.PGSQL.5432", socket.as_raw_fd())).await
}

async fn log_in(socket: &Arc<File>) -> Client {
    let stream = open(Arc::clone(socket)).await.expect("the server listens");
    let mut config = Config::new();
    config.user(SUPERUSER).dbname("postgres");
    let (client, connection) = config.connect_raw(stream, NoTls).await.expect("the sandbox's own role");
    tokio::spawn(connection);
    client
}

fn directly(socket: &Arc<File>) -> Open {
    let socket = Arc::clone(socket);
    Arc::new(move || {
        let socket = Arc::clone(&socket);
        Box::pin(async { Ok(Box::new(open(socket).await?) as Box<dyn Far>) })
    })
}

fn behind(front: Front) -> Open {
    Arc::new(move || {
        let front = front.clone();
        Box::pin(async move {
            let (near, far) = tokio::io::duplex(64 << 10);
            tokio::spawn(async move { drop(front.serve(far).await) });
            Ok(Box::new(near) as Box<dyn Far>)
        })
    })
}
