//! The side that is measured, a process of its own so that its time and memory are its own.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use db::migrate::{self, Outcome, RunOptions};
use db::{BoxStream, ConnectOptions, Dial, Login, SearchPath, Server, connect};
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use stack::{Events, Secret};
use tokio::net::TcpStream;
use tokio_postgres::{Config, NoTls};

use crate::cluster::{HOST, OWNER, PASSWORD};
use crate::files;

/// The argument that makes the bench a client.
pub(crate) const ARGUMENT: &str = "--client";

/// Who migrates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `db::migrate::run`, which `cargo xtask migrate` calls.
    Engine,
    /// One message with all that is pending, over the engine's own connection: what nobody can do without.
    Floor,
    /// The same without TLS.
    BareFloor,
    /// refinery's library, `Runner::run_async`, without TLS.
    Refinery,
    /// Connects and hangs up.
    Login,
}

const KINDS: [Kind; 5] = [Kind::Engine, Kind::Floor, Kind::BareFloor, Kind::Refinery, Kind::Login];

/// What to do.
#[derive(Clone, Debug)]
pub(crate) struct Order<'a> {
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
    pub(crate) authority: &'a str,
    /// Who connects to which database, in turn.
    pub(crate) databases: &'a [String],
    pub(crate) jobs: usize,
    /// How many files there are already, and how many there are to be.
    pub(crate) files: (usize, usize),
}

/// What it took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    pub(crate) time: Duration,
    pub(crate) cpu: Duration,
    pub(crate) peak_mib: f64,
}

impl Order<'_> {
    /// Runs it in another process.
    pub(crate) fn run(&self) -> Spent {
        let program = std::env::current_exe().expect("a program has a path");
        let mut command = Command::new(program);
        command.arg(ARGUMENT).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it has just been started itself");
        let order = json!({
            "kind": KINDS.iter().position(|kind| *kind == self.kind),
            "address": self.address.to_string(),
            "authority": self.authority,
            "databases": self.databases,
            "jobs": self.jobs,
            "files": [self.files.0, self.files.1],
        });
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin.write_all(order.to_string().as_bytes()).expect("it reads its order");
        drop(stdin);
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "a client failed: see above");
        let told: Value = serde_json::from_slice(&output.stdout).expect("it tells what it took");
        let seconds = |name: &str| Duration::from_secs_f64(told[name].as_f64().unwrap_or(0.0));
        Spent {
            time: seconds("seconds"),
            cpu: seconds("cpu_seconds"),
            peak_mib: told["peak_mib"].as_f64().unwrap_or(0.0),
        }
    }
}

/// Does what stdin says, and says on stdout what it took.
pub(crate) fn main() {
    let mut order = String::new();
    std::io::stdin().read_to_string(&mut order).expect("the order comes");
    let order: Value = serde_json::from_str(&order).expect("the order is JSON");
    let number = |value: &Value| value.as_u64().and_then(|n| usize::try_from(n).ok()).expect("a number");
    let kind = KINDS[number(&order["kind"])];
    let address = order["address"].as_str().and_then(|text| text.parse().ok()).expect("an address");
    let (jobs, files) = (number(&order["jobs"]), (number(&order["files"][0]), number(&order["files"][1])));
    let databases = order["databases"].as_array().into_iter().flatten();
    let logins = databases.filter_map(Value::as_str).map(|database| Login {
        user: OWNER.to_owned(),
        password: Secret::new(PASSWORD),
        database: database.to_owned(),
    });
    let work = Work {
        server: Server {
            host: HOST.to_owned(),
            port: 5432,
            roots: Arc::new(
                Server::roots_from_pem(order["authority"].as_str().unwrap_or_default().as_bytes())
                    .expect("it has just been made"),
            ),
            dial: Arc::new(Port(address)),
        },
        address,
        logins: logins.collect(),
        jobs,
        files,
    };
    // As the real program has it.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime can be built");
    let begun = Instant::now();
    runtime.block_on(work.run(kind));
    let seconds = begun.elapsed().as_secs_f64();
    let process = std::process::id();
    println!(
        "{}",
        json!({
            "seconds": seconds,
            "cpu_seconds": crate::process::own_cpu(process).as_secs_f64(),
            "peak_mib": crate::process::peak_mib(process),
        })
    );
}

struct Port(SocketAddr);

impl Dial for Port {
    fn dial(&self) -> BoxFuture<'_, std::io::Result<BoxStream>> {
        Box::pin(async {
            let stream = TcpStream::connect(self.0).await?;
            stream.set_nodelay(true)?;
            Ok(BoxStream::new(stream))
        })
    }
}

struct Work {
    server: Server,
    address: SocketAddr,
    logins: Vec<Login>,
    jobs: usize,
    files: (usize, usize),
}

impl Work {
    async fn run(&self, kind: Kind) {
        if kind == Kind::Engine {
            return self.engine().await;
        }
        let batch = self.batch();
        let each = stream::iter(&self.logins).for_each_concurrent(self.jobs, |login| {
            let batch = batch.as_str();
            async move {
                match kind {
                    Kind::Engine | Kind::Login => self.login(login, None).await,
                    Kind::Floor => self.login(login, Some(batch)).await,
                    Kind::BareFloor => self.bare(login, batch).await,
                    Kind::Refinery => self.refinery(login).await,
                }
            }
        });
        each.await;
    }

    async fn engine(&self) {
        let files = files::migrations(self.files.1);
        let lock_timeout = Some(Duration::from_secs(10));
        let options = RunOptions {
            jobs: self.jobs,
            connect: ConnectOptions { lock_timeout, ..ConnectOptions::default() },
            ..RunOptions::default()
        };
        let reports = migrate::run(&self.server, &self.logins, &files, &options, &Events::none()).await;
        let due = self.files.1 - self.files.0;
        for report in reports {
            let is_expected = match &report.outcome {
                Outcome::UpToDate => due == 0,
                Outcome::Applied { migrations } => migrations.len() == due,
                Outcome::Failed { .. } | Outcome::Interrupted { .. } | Outcome::NotStarted { .. } => false,
            };
            assert!(is_expected, "{report:?}");
        }
    }

    /// All that is pending with its rows of history, or a look at the history.
    fn batch(&self) -> String {
        const READ: &str = "SELECT version, name, applied_on, checksum FROM refinery_schema_history";
        let (from, to) = self.files;
        if from == to {
            return READ.to_owned();
        }
        let mut sql = "BEGIN;\n".to_owned();
        if from == 0 {
            sql.push_str(
                "CREATE TABLE IF NOT EXISTS refinery_schema_history (version int4 PRIMARY KEY, \
                 name varchar(255), applied_on varchar(255), checksum varchar(255));\n",
            );
        }
        for file in files::migrations(to).iter().skip(from) {
            sql.push_str(file.sql());
            sql.push_str(&format!(
                "INSERT INTO refinery_schema_history VALUES ({}, '{}', '2026-01-01T00:00:00Z', '{}');\n",
                file.version(),
                file.name(),
                file.checksum()
            ));
        }
        sql + "COMMIT;\n"
    }

    async fn login(&self, login: &Login, batch: Option<&str>) {
        let options = ConnectOptions { search_path: SearchPath::Own, ..ConnectOptions::default() };
        let session = connect(&self.server, login, &options).await.expect("the tenant is there");
        if let Some(batch) = batch {
            session.client().batch_execute(batch).await.expect("the SQL is right");
        }
        session.close().await;
    }

    async fn bare(&self, login: &Login, batch: &str) {
        let (client, driver) = self.plain(login).await;
        client.batch_execute(batch).await.expect("the SQL is right");
        drop(client);
        driver.await.ok();
    }

    async fn refinery(&self, login: &Login) {
        let (mut client, driver) = self.plain(login).await;
        let runner = refinery::Runner::new(&files::refinery(self.files.1));
        let report = runner.run_async(&mut client).await.expect("the SQL is right");
        assert_eq!(report.applied_migrations().len(), self.files.1 - self.files.0);
        drop(client);
        driver.await.ok();
    }

    async fn plain(&self, login: &Login) -> (tokio_postgres::Client, tokio::task::JoinHandle<()>) {
        let stream = TcpStream::connect(self.address).await.expect("the way is open");
        stream.set_nodelay(true).expect("it is a socket");
        let mut config = Config::new();
        config.user(&login.user).password(login.password.expose()).dbname(&login.database);
        let (client, connection) = config.connect_raw(stream, NoTls).await.expect("the tenant is there");
        (client, tokio::spawn(async move { drop(connection.await) }))
    }
}
