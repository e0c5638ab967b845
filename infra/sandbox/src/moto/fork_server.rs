//! A Python that has read moto's code and copies itself for each server.
//!
//! Reading it takes as long as a thousand requests, and whoever starts one sandbox after the other, as tests do, would pay
//! for it each time. Where a variable names a socket, processes share one, as each test may be a process of its own.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Error;
use crate::gateway::MotoKey;

/// Names the socket over which processes share an original; whoever comes first starts it.
const SHARED_VARIABLE: &str = "DRAWBRIDGE_TEST_MOTO";
/// A Python that listens before it reads moto is there in a moment, on any machine.
const LISTENS_WITHIN: Duration = Duration::from_secs(60);

/// The original of servers. It ends, with all of them, when the last of its holders drops it or their process ends; one that
/// is shared ends those servers alone that this process asked for.
#[derive(Debug)]
pub(super) struct ForkServer {
    original: Original,
    is_lost: AtomicBool,
    pipes: Mutex<Pipes>,
}

#[derive(Debug)]
enum Original {
    Own(Pid),
    Shared(UnixStream),
}

struct Pipes {
    /// The original, if it is ours alone.
    child: Option<Child>,
    /// Its only write end: the kernel closes it when this process is killed.
    orders: Option<Box<dyn Write + Send>>,
    answers: BufReader<Box<dyn Read + Send>>,
}

impl std::fmt::Debug for Pipes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipes").field("child", &self.child).finish_non_exhaustive()
    }
}

/// One for each Python, as long as somebody holds it.
static ALL: Mutex<Option<HashMap<PathBuf, Weak<ForkServer>>>> = Mutex::new(None);

impl ForkServer {
    /// Returns the one of that command's program, started with its log there if there is none yet. Blocks.
    pub(super) fn of(command: Command, log: &File) -> Result<Arc<ForkServer>, Error> {
        let mut all = lock(&ALL);
        let all = all.get_or_insert_default();
        let program = PathBuf::from(command.get_program());
        if let Some(fork_server) = all.get(&program).and_then(Weak::upgrade)
            && fork_server.is_alive()
        {
            return Ok(fork_server);
        }
        let fork_server = match std::env::var_os(SHARED_VARIABLE).filter(|socket| !socket.is_empty()) {
            Some(socket) => ForkServer::join(command, socket)?,
            None => ForkServer::start(command, log)?,
        };
        let fork_server = Arc::new(fork_server);
        all.insert(program, Arc::downgrade(&fork_server));
        Ok(fork_server)
    }

    fn start(mut command: Command, log: &File) -> Result<ForkServer, Error> {
        use std::os::unix::process::CommandExt;
        let stderr = log.try_clone().map_err(Error::file("open", "the log"))?;
        // A process group of its own, so that Ctrl-C at the terminal reaches only us.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr).process_group(0);
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command.spawn().map_err(|source| Error::Spawn { program, source })?;
        let orders = child.stdin.take().map(|orders| Box::new(orders) as Box<dyn Write + Send>);
        let answers: Box<dyn Read + Send> = Box::new(child.stdout.take().expect("invariant: it was piped"));
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("invariant: a process id is an i32"));
        let pipes = Pipes { child: Some(child), orders, answers: BufReader::new(answers) };
        Ok(ForkServer {
            original: Original::Own(pid),
            is_lost: AtomicBool::new(false),
            pipes: Mutex::new(pipes),
        })
    }

    /// Connects to the one that others share, and starts it if nobody has.
    fn join(command: Command, socket: OsString) -> Result<ForkServer, Error> {
        let socket = PathBuf::from(socket);
        let cannot = |source: io::Error| Error::file("connect to", &socket)(source);
        let path = socket.with_extension("lock");
        let lock = File::create(&path).map_err(Error::file("create", &path))?;
        lock.lock().map_err(Error::file("lock", &path))?;
        let stream = match UnixStream::connect(&socket) {
            Ok(stream) => stream,
            Err(_) => start_shared(command, &socket)?,
        };
        drop(lock);
        let (orders, answers) = (stream.try_clone().map_err(cannot)?, stream.try_clone().map_err(cannot)?);
        let (orders, answers): (Box<dyn Write + Send>, Box<dyn Read + Send>) =
            (Box::new(orders), Box::new(answers));
        let pipes = Pipes { child: None, orders: Some(orders), answers: BufReader::new(answers) };
        let original = Original::Shared(stream);
        Ok(ForkServer { original, is_lost: AtomicBool::new(false), pipes: Mutex::new(pipes) })
    }

    fn is_alive(&self) -> bool {
        if self.is_lost.load(Ordering::Relaxed) {
            return false;
        }
        match &mut lock(&self.pipes).child {
            Some(child) => matches!(child.try_wait(), Ok(None)),
            None => true,
        }
    }

    /// Starts a server with that key and that log and returns its process and its port. Blocks.
    pub(super) fn spawn(&self, key: MotoKey, log: &Path) -> io::Result<(u32, u16)> {
        let answer = self.ask(&format!("start {} {}", key.expose(), log.display()))?;
        let parsed =
            answer.split_once(' ').and_then(|(pid, port)| Some((pid.parse().ok()?, port.parse().ok()?)));
        parsed
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "moto's server did not tell its port"))
    }

    /// Ends it by force, and all its servers; of one that is shared, our own servers.
    pub(super) fn kill(&self) {
        self.is_lost.store(true, Ordering::Relaxed);
        match &self.original {
            // Its id is its own as long as nobody has waited for its end, which the drop does.
            Original::Own(pid) => kill(*pid, Signal::SIGKILL).ok(),
            Original::Shared(stream) => stream.shutdown(Shutdown::Both).ok(),
        };
    }

    /// Ends a server and waits until it is gone. Blocks.
    pub(super) fn end(&self, pid: u32) {
        // If this fails, the original is gone, and the server with it.
        drop(self.ask(&format!("stop {pid}")));
    }

    fn ask(&self, order: &str) -> io::Result<String> {
        let answer = lock(&self.pipes).ask(order);
        if answer.as_ref().map_or(true, String::is_empty) {
            self.is_lost.store(true, Ordering::Relaxed);
        }
        answer
    }
}

/// Starts an original that listens there, and connects to it. The caller holds the lock.
fn start_shared(mut command: Command, socket: &Path) -> Result<UnixStream, Error> {
    use std::os::unix::process::CommandExt;
    // Nobody listens to it any more.
    fs::remove_file(socket).ok();
    let path = socket.with_extension("log");
    let log = File::options().create(true).append(true).open(&path).map_err(Error::file("open", &path))?;
    // It outlives this process: nothing of it may be held open, and no signal for it may reach the other.
    command.arg(socket).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).process_group(0);
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command.spawn().map_err(|source| Error::Spawn { program, source })?;
    let began = Instant::now();
    loop {
        match UnixStream::connect(socket) {
            Ok(stream) => return Ok(stream),
            Err(_) if began.elapsed() < LISTENS_WITHIN && matches!(child.try_wait(), Ok(None)) => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(_) => return Err(Error::not_ready("moto", path)),
        }
    }
}

impl Pipes {
    fn ask(&mut self, order: &str) -> io::Result<String> {
        let orders = self.orders.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        // In one piece: the other end reads lines.
        orders.write_all(format!("{order}\n").as_bytes())?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        Ok(answer.trim_end().to_owned())
    }
}

impl Drop for Pipes {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(child) = &mut self.child {
            // A zombie would be all that is left of it.
            drop(child.wait());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
