//! Child processes: short ones that are run to their end, and servers that die with their parent.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, ChildStdout};

use crate::Error;

/// Runs a program to its end and returns what it printed on stdout.
pub(crate) fn run(command: &mut Command) -> Result<String, Error> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|source| Error::Spawn { program: program.clone(), source })?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(Error::Program { program, status: output.status.to_string(), output: format!("{stdout}\n{stderr}") })
}

/// Says whether the program exists and exits with 0. What it prints is thrown away.
pub(crate) fn quiet(program: &str, args: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Returns the major version that a PostgreSQL program tells of itself: 16 for `postgres (PostgreSQL) 16.14`.
pub(crate) fn major_of(program: &Path) -> Option<u16> {
    let told = run(Command::new(program).arg("--version")).ok()?;
    let version = told.split("(PostgreSQL) ").nth(1)?;
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// A server whose wrapper ends it as soon as the pipe on its stdin closes.
///
/// The write end of that pipe is held here and nowhere else. So the server ends when this is dropped, and also when
/// the whole process is killed without notice: the kernel closes the pipe.
#[derive(Debug)]
pub(crate) struct Attached {
    child: Child,
    lifeline: Option<ChildStdin>,
}

impl Attached {
    /// Starts the wrapper in a process group of its own, so that Ctrl-C at the terminal reaches only us.
    pub(crate) fn spawn(mut command: Command, log: &File, stdout: Stdio) -> Result<Attached, Error> {
        let program = command.get_program().to_string_lossy().into_owned();
        let spawn = |command: Command| -> io::Result<Child> {
            let mut command = tokio::process::Command::from(command);
            command.process_group(0).spawn()
        };
        let stderr = log.try_clone().map_err(Error::file("open", "the log"))?;
        command.stdin(Stdio::piped()).stdout(stdout).stderr(stderr);
        let mut child = spawn(command).map_err(|source| Error::Spawn { program, source })?;
        let lifeline = child.stdin.take();
        Ok(Attached { child, lifeline })
    }

    /// Returns the server's stdout, once, if it was piped.
    pub(crate) fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Writes a line to the wrapper's stdin, which stays open. A wrapper that has ended meanwhile is found out by others.
    pub(crate) async fn tell(&mut self, line: &str) {
        if let Some(lifeline) = &mut self.lifeline {
            drop(lifeline.write_all(format!("{line}\n").as_bytes()).await);
        }
    }

    /// Says whether the server ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Closes the pipe and waits for the end; after `limit` uses force.
    pub(crate) async fn stop(mut self, limit: Duration) {
        drop(self.lifeline.take());
        // PostgreSQL's immediate shutdown, then nobody's choice any more.
        for force in [Signal::SIGQUIT, Signal::SIGKILL] {
            if tokio::time::timeout(limit, self.child.wait()).await.is_ok() {
                return;
            }
            if let Some(group) = self.child.id().and_then(|id| i32::try_from(id).ok()) {
                // It may have ended just now; then there is nothing left to signal.
                killpg(Pid::from_raw(group), force).ok();
            }
        }
        self.child.wait().await.ok();
    }
}
