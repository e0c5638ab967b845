//! moto's server, which answers for every AWS service that the gateway does not answer itself.

mod fork_server;

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use self::fork_server::ForkServer;
use crate::gateway::{Emulator, MotoKey};
use crate::process::{self, Attached};
use crate::{Error, Runtime};

/// The image where there is no Python; `DRAWBRIDGE_IMAGE_MOTO` names another.
const IMAGE: &str = "motoserver/moto:5.2.5";
const READY_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// Serves on the address in argv or, without one, copies itself for each server that it is asked for.
const SERVER: &str = include_str!("moto/server.py");

/// Where moto comes from.
#[derive(Clone, Debug)]
pub enum MotoSource {
    /// The virtual environment.
    Python(Runtime),
    /// A Docker image.
    Docker {
        /// Its name with the tag.
        image: String,
    },
}

impl MotoSource {
    /// Returns the Docker image, `DRAWBRIDGE_IMAGE_MOTO` or the default one, if Docker answers.
    pub fn find_docker() -> Option<MotoSource> {
        let image = std::env::var("DRAWBRIDGE_IMAGE_MOTO").unwrap_or_else(|_| IMAGE.to_owned());
        process::quiet("docker", &["version"]).then_some(MotoSource::Docker { image })
    }
}

/// A running server. It ends when this is dropped, and when the process that holds it is killed.
#[derive(Debug)]
pub struct Moto {
    server: Server,
    port: u16,
    key: MotoKey,
}

#[derive(Debug)]
enum Server {
    Forked(Forked),
    Container(Box<Attached>),
}

/// A copy of a Python that others are copied from as well.
#[derive(Debug)]
struct Forked {
    fork_server: Arc<ForkServer>,
    pid: u32,
}

impl Drop for Forked {
    fn drop(&mut self) {
        self.fork_server.end(self.pid);
    }
}

impl Moto {
    /// Starts a server on a free port of 127.0.0.1 with its log in `dir`, and waits until it answers.
    ///
    /// # Errors
    /// [`Error::NotReady`] with the end of its log.
    pub async fn start(source: &MotoSource, dir: &Path) -> Result<Moto, Error> {
        let log_path = dir.join("moto.log");
        let log = crate::create_log(&log_path).map_err(Error::file("create", &log_path))?;
        let key = MotoKey::random();
        let started = tokio::time::timeout(READY_LIMIT, async {
            let (server, port) = match source {
                MotoSource::Python(runtime) => fork(runtime, key, &log, &log_path).await,
                MotoSource::Docker { image } => contain(image, key, &log, &log_path).await,
            }?;
            Ok(answers(port, key).await.then_some(Moto { server, port, key }))
        });
        match started.await {
            Ok(Ok(Some(moto))) => Ok(moto),
            Ok(Err(error)) => Err(error),
            Ok(Ok(None)) | Err(_) => Err(Error::not_ready("moto", log_path)),
        }
    }

    /// Returns the address that it listens on.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// Returns it as a gateway knows it: by its address and its key, which it wants to be shown.
    pub fn emulator(&self) -> Emulator {
        Emulator::OwnMoto(self.address(), self.key)
    }

    /// Ends the server and waits until it is gone.
    pub async fn stop(self) {
        match self.server {
            Server::Forked(forked) => drop(tokio::task::spawn_blocking(|| drop(forked)).await),
            Server::Container(server) => server.stop(STOP_LIMIT).await,
        }
    }
}

async fn fork(runtime: &Runtime, key: MotoKey, log: &File, log_path: &Path) -> Result<(Server, u16), Error> {
    let (command, log) = (python(runtime), log.try_clone().map_err(Error::file("open", log_path))?);
    let fork_server = tokio::task::spawn_blocking(move || ForkServer::of(command, &log)).await;
    let fork_server = fork_server.map_err(io::Error::other).map_err(Error::file("start", "moto"))??;
    let guard = Guard(Some(fork_server.clone()));
    let path = log_path.to_owned();
    let spawned = tokio::task::spawn_blocking(move || {
        fork_server.spawn(key, &path).map(|(pid, port)| (Server::Forked(Forked { fork_server, pid }), port))
    });
    let spawned = spawned.await.map_err(io::Error::other).and_then(|spawned| spawned);
    guard.release();
    spawned.map_err(|_| Error::not_ready("moto", log_path.to_owned()))
}

/// Ends a fork server that does not answer: nobody can wait for it any more.
struct Guard(Option<Arc<ForkServer>>);

impl Guard {
    fn release(mut self) {
        self.0 = None;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(fork_server) = self.0.take() {
            fork_server.kill();
        }
    }
}

async fn contain(image: &str, key: MotoKey, log: &File, log_path: &Path) -> Result<(Server, u16), Error> {
    let container = format!("drawbridge-moto-{}", uuid::Uuid::new_v4().simple());
    let mut server = Attached::spawn(docker(image, &container), log, Stdio::piped())?;
    server.tell(&key.expose()).await;
    let port = match read_line(&mut server).await {
        Some(_) => published_port(&container),
        None => None,
    };
    match port {
        Some(port) => Ok((Server::Container(Box::new(server)), port)),
        None => {
            server.stop(STOP_LIMIT).await;
            Err(Error::not_ready("moto", log_path.to_owned()))
        }
    }
}

/// What moto reads at its start. Without the first, AmazonSSMManagedInstanceCore does not exist.
const SETTINGS: [(&str, &str); 2] =
    [("MOTO_IAM_LOAD_MANAGED_POLICIES", "true"), ("MOTO_ENABLE_AMI_VALIDATION", "true")];

fn python(runtime: &Runtime) -> Command {
    let mut command = Command::new(runtime.python());
    // Isolated from the user's Python settings; and no AWS credentials of the user may reach moto.
    command.args(["-I", "-c", SERVER]);
    for (name, _) in std::env::vars_os() {
        let known = name.to_string_lossy();
        if known.starts_with("AWS_") || known.starts_with("MOTO_") {
            command.env_remove(&name);
        }
    }
    command.envs(SETTINGS);
    command
}

fn docker(image: &str, container: &str) -> Command {
    let mut command = Command::new("docker");
    command.args(["run", "--rm", "--interactive", "--name", container, "--publish", "127.0.0.1::5000"]);
    for (name, value) in SETTINGS {
        command.args(["--env", &format!("{name}={value}")]);
    }
    command.args(["--entrypoint", "python", image, "-c", SERVER, "0.0.0.0", "5000"]);
    command
}

async fn read_line(server: &mut Attached) -> Option<String> {
    let mut line = String::new();
    BufReader::new(server.take_stdout()?).read_line(&mut line).await.ok()?;
    Some(line).filter(|line| !line.is_empty())
}

fn published_port(container: &str) -> Option<u16> {
    let told = process::run(Command::new("docker").args(["port", container, "5000/tcp"])).ok()?;
    told.lines().next()?.rsplit(':').next()?.trim().parse().ok()
}

/// Says whether the server answers a request. It is listening by now, so that one try is enough.
async fn answers(port: u16, key: MotoKey) -> bool {
    let exchange = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let head = format!("Host: 127.0.0.1\r\nX-Drawbridge-Key: {}\r\n\r\n", key.expose());
        stream.write_all(format!("GET /moto-api/data.json HTTP/1.0\r\n{head}").as_bytes()).await?;
        let mut head = [0; 12];
        stream.read_exact(&mut head).await?;
        std::io::Result::Ok(head.ends_with(b" 200"))
    };
    exchange.await.unwrap_or(false)
}
