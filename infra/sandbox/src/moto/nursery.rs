//! A Python that has read moto's code and copies itself for each server.
//!
//! Reading it takes as long as a thousand requests, and whoever starts one sandbox after the other, as tests do, would pay
//! for it each time.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Error;

/// The original of servers. It ends, with all of them, when the last of its holders drops it or their process ends.
#[derive(Debug)]
pub(super) struct Nursery {
    pid: Pid,
    pipes: Mutex<Pipes>,
}

#[derive(Debug)]
struct Pipes {
    child: Child,
    // Its only write end: the kernel closes it when this process is killed.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// One for each Python, as long as somebody holds it.
static ALL: Mutex<Option<HashMap<PathBuf, Weak<Nursery>>>> = Mutex::new(None);

impl Nursery {
    /// Returns the one of that command's program, started with its log there if there is none yet.
    pub(super) fn of(command: Command, log: &File) -> Result<Arc<Nursery>, Error> {
        let mut all = lock(&ALL);
        let all = all.get_or_insert_default();
        let program = PathBuf::from(command.get_program());
        if let Some(nursery) = all.get(&program).and_then(Weak::upgrade)
            && nursery.is_alive()
        {
            return Ok(nursery);
        }
        let nursery = Arc::new(Nursery::start(command, log)?);
        all.insert(program, Arc::downgrade(&nursery));
        Ok(nursery)
    }

    fn start(mut command: Command, log: &File) -> Result<Nursery, Error> {
        use std::os::unix::process::CommandExt;
        let stderr = log.try_clone().map_err(Error::file("open", "the log"))?;
        // A process group of its own, so that Ctrl-C at the terminal reaches only us.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr).process_group(0);
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command.spawn().map_err(|source| Error::Spawn { program, source })?;
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("invariant: it was piped"));
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("invariant: a process id is an i32"));
        Ok(Nursery { pid, pipes: Mutex::new(Pipes { child, orders, answers }) })
    }

    fn is_alive(&self) -> bool {
        matches!(lock(&self.pipes).child.try_wait(), Ok(None))
    }

    /// Starts a server with that log and returns its process and its port. Blocks.
    pub(super) fn bear(&self, log: &Path) -> io::Result<(u32, u16)> {
        let answer = lock(&self.pipes).ask(&format!("start {}", log.display()))?;
        let parsed =
            answer.split_once(' ').and_then(|(pid, port)| Some((pid.parse().ok()?, port.parse().ok()?)));
        parsed
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "moto's server did not tell its port"))
    }

    /// Ends it by force, and all its servers.
    pub(super) fn kill(&self) {
        // Its id is its own as long as nobody has waited for its end, which the drop does.
        kill(self.pid, Signal::SIGKILL).ok();
    }

    /// Ends a server and waits until it is gone. Blocks.
    pub(super) fn end(&self, pid: u32) {
        // If this fails, the original is gone, and the server with it.
        drop(lock(&self.pipes).ask(&format!("stop {pid}")));
    }
}

impl Pipes {
    fn ask(&mut self, order: &str) -> io::Result<String> {
        let orders = self.orders.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        writeln!(orders, "{order}")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        Ok(answer.trim_end().to_owned())
    }
}

impl Drop for Pipes {
    fn drop(&mut self) {
        drop(self.orders.take());
        // A zombie would be all that is left of it.
        drop(self.child.wait());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
