//! A sandbox that runs in a process of its own, found again by its folder.

use std::fmt;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use hyper::Method;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};

use crate::Error;
use crate::folder_lock::{LOCK, is_alive, own_pid, owner, try_lock};
use crate::gateway::{Key, Password, Unsigned, control};
use crate::sandbox::{Options, Sandbox};

pub use crate::folder_lock::is_taken;

const FILE: &str = "sandbox.json";
const STOP_LIMIT: Duration = Duration::from_secs(60);
const HEALTH_LIMIT: Duration = Duration::from_secs(2);
/// More than a gateway ever answers there.
const MOST_BYTES: u64 = 1 << 20;

/// What `sandbox.json` tells of a running sandbox.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Its process.
    pub pid: i32,
    /// What clients take as their endpoint.
    pub endpoint: String,
    /// The variables that point programs at it, with its key.
    pub environment: Vec<(String, String)>,
    /// When it was ready, in UTC.
    pub started_at: String,
}

impl Running {
    fn key(&self) -> Option<Key> {
        let value = |name| self.environment.iter().find(|(known, _)| known == name).map(|(_, value)| value);
        Some(Key::new(value("AWS_ACCESS_KEY_ID")?, Password::new(value("AWS_SECRET_ACCESS_KEY")?)))
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("pid", &self.pid)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// Runs a sandbox until SIGTERM, SIGINT or SIGHUP, with `sandbox.json` in its folder as long as it is ready.
///
/// # Errors
/// Those of [`Sandbox::start`] and [`Sandbox::stop`].
pub async fn serve_until_signal(options: Options) -> Result<(), Error> {
    // From here on: a signal during the start must end what has started so far.
    let mut signalled = std::pin::pin!(wait_for_signal());
    let sandbox = tokio::select! {
        sandbox = Sandbox::start(options) => sandbox?,
        ended = &mut signalled => return ended,
    };
    let dir = sandbox.dir().to_owned();
    write(&dir, &sandbox)?;
    signalled.await?;
    let removed = remove(&dir);
    sandbox.stop().await.and(removed)
}

/// Returns the sandbox that runs in the folder, if its process lives and its gateway answers and proves that it has the key:
/// another may have its port by now.
pub fn find(dir: &Path) -> Option<Running> {
    let running = read(dir)?;
    (is_alive(running.pid) && answers(&running)).then_some(running)
}

/// Ends the sandbox that runs in the folder, or is being started there, and waits until it is gone. Returns its process, or
/// nothing if none ran.
///
/// # Errors
/// [`Error::StillRunning`] if it does not end within a minute.
pub fn stop(dir: &Path) -> Result<Option<i32>, Error> {
    if !dir.join(LOCK).exists() {
        return Ok(None);
    }
    let deadline = Instant::now() + STOP_LIMIT;
    let mut told = None;
    // The lock says for sure whether there is one; a number alone may belong to somebody else by now.
    while try_lock(dir)?.is_none() || told.is_some_and(is_alive) {
        let owner = owner(dir);
        if let Some(pid) = owner.filter(|_| told.is_none()) {
            kill(Pid::from_raw(pid), Signal::SIGTERM).ok();
            told = owner;
        }
        if Instant::now() > deadline {
            return Err(Error::StillRunning { pid: told.unwrap_or_default() });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    remove(dir)?;
    Ok(told)
}

async fn wait_for_signal() -> Result<(), Error> {
    let listen = |kind| signal(kind).map_err(Error::Signal);
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut hangup = listen(SignalKind::hangup())?;
    tokio::select! {
        _ = terminate.recv() => (),
        _ = interrupt.recv() => (),
        _ = hangup.recv() => (),
    }
    Ok(())
}

fn write(dir: &Path, sandbox: &Sandbox) -> Result<(), Error> {
    let running = Running {
        pid: own_pid(),
        endpoint: sandbox.endpoint(),
        environment: sandbox.environment(),
        started_at: jiff::Timestamp::now().to_string(),
    };
    let text = serde_json::to_string_pretty(&running).expect("invariant: strings and numbers are JSON");
    let (path, partial) = (dir.join(FILE), dir.join(format!("{FILE}.partial")));
    // Readers see a whole file or none.
    let mut options = File::options();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options.open(&partial).and_then(|mut file| file.write_all(text.as_bytes()));
    written.and_then(|()| fs::rename(&partial, &path)).map_err(Error::file("write", &path))
}

fn read(dir: &Path) -> Option<Running> {
    serde_json::from_slice(&fs::read(dir.join(FILE)).ok()?).ok()
}

fn remove(dir: &Path) -> Result<(), Error> {
    let path = dir.join(FILE);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::file("remove", &path)(error)),
        _ => Ok(()),
    }
}

fn answers(running: &Running) -> bool {
    let exchange = || -> Option<bool> {
        let (host, key) = (running.endpoint.strip_prefix("http://")?, running.key()?);
        let address: SocketAddr = host.parse().ok()?;
        let path = format!("{}health", control::PATH);
        let call = Unsigned {
            method: Method::GET,
            host,
            path: &path,
            service: control::SERVICE,
            region: "us-east-1",
            headers: &[control::HEADER],
            body: b"",
        };
        let signed = key.sign(&call);
        let (_, signature) = signed.last()?.1.split_once("Signature=")?;
        let proof = format!("{}: {}", control::PROOF, key.prove(signature));
        let headers: String = signed.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let (name, value) = control::HEADER;
        let request = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\n{name}: {value}\r\n{headers}\r\n");
        let mut stream = TcpStream::connect_timeout(&address, HEALTH_LIMIT).ok()?;
        stream.set_read_timeout(Some(HEALTH_LIMIT)).ok()?;
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = Vec::new();
        stream.take(MOST_BYTES).read_to_end(&mut answer).ok()?;
        let answer = String::from_utf8_lossy(&answer);
        let mut lines = answer.split("\r\n").take_while(|line| !line.is_empty());
        Some(lines.next()?.ends_with(" 200 OK") && lines.any(|line| line.eq_ignore_ascii_case(&proof)))
    };
    exchange().unwrap_or(false)
}
