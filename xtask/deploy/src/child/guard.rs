//! The guard: a process between this program and one that it starts, which ends that one, and all that it started, when this
//! program is gone, even if it was killed.
//!
//! It is this program under a hidden command line, because what makes the kernel send a signal at a parent's death must be
//! asked for in the child, and only a program of our own can do that without `unsafe`.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getppid};
use tokio::signal::unix::{SignalKind, signal};

use super::tree;
use crate::screen;
use crate::text::Text;

/// The first word of the hidden command line: `__child ROLE PARENT PROGRAM ARGS..`.
const STEP: &str = "__child";
/// What a shell says of a command that it finds and cannot run.
const CANNOT_RUN: u8 = 126;

/// What the hidden command line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// To start the program and to look after it.
    Guard,
    /// To become the program, and to end with the guard.
    Program,
}

impl Role {
    fn word(self) -> &'static str {
        match self {
            Role::Guard => "guard",
            Role::Program => "program",
        }
    }
}

/// Returns this program's own file, also if that was replaced or removed since it was started.
pub(super) fn own() -> Option<PathBuf> {
    let linux = Path::new("/proc/self/exe");
    if linux.exists() { Some(linux.to_owned()) } else { std::env::current_exe().ok() }
}

/// Writes the hidden command line; the program's arguments follow.
pub(super) fn ask(command: &mut Command, role: Role, program: &OsStr) {
    let name = std::env::args_os().next().unwrap_or_else(|| "drawbridge".into());
    command.arg0(name).args([STEP, role.word(), &std::process::id().to_string()]).arg(program);
}

/// Does what the hidden command line asks for, if this is one, and returns the exit code. Call it before anything else.
pub fn step() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_none_or(|word| word != STEP) {
        return None;
    }
    let (role, parent, program) = (args.next()?, args.next()?, args.next()?);
    let parent = Pid::from_raw(parent.to_str()?.parse().ok()?);
    let args: Vec<OsString> = args.collect();
    Some(if role == Role::Guard.word() {
        guard(parent, &program, &args)
    } else {
        become_program(parent, &program, &args)
    })
}

/// Becomes the program, which the kernel then kills when the guard dies.
fn become_program(parent: Pid, program: &OsStr, args: &[OsString]) -> ExitCode {
    if !end_with(parent, Signal::SIGKILL) {
        return ExitCode::from(CANNOT_RUN);
    }
    say(program, &Command::new(program).args(args).exec())
}

fn say(program: &OsStr, error: &io::Error) -> ExitCode {
    screen::cry(&Text::of(format_args!("error: cannot run `{}`: {error}", program.display())));
    ExitCode::from(CANNOT_RUN)
}

/// Asks for that signal at the parent's death; false if it has died already.
fn end_with(parent: Pid, signal: Signal) -> bool {
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_pdeathsig(signal).ok();
    #[cfg(not(target_os = "linux"))]
    let _ = signal;
    getppid() == parent
}

fn guard(parent: Pid, program: &OsStr, args: &[OsString]) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.and_then(|runtime| runtime.block_on(watch(parent, program, args))) {
        Ok(code) => code,
        Err(error) => say(program, &error),
    }
}

/// How often systems that send no signal at a parent's death are asked for it.
const LOOK: std::time::Duration = std::time::Duration::from_millis(200);

/// Starts the program and waits for its end, or for the parent's.
async fn watch(parent: Pid, program: &OsStr, args: &[OsString]) -> io::Result<ExitCode> {
    // The terminal sends these to the program as well; the guard must outlive them to pass on how it ended.
    let ignored = [SignalKind::interrupt(), SignalKind::quit(), SignalKind::hangup()].map(signal);
    let _ignored = ignored.into_iter().collect::<io::Result<Vec<_>>>()?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut orphaned = signal(SignalKind::user_defined1())?;
    let mut ended = signal(SignalKind::child())?;
    let mut look = tokio::time::interval(LOOK);
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_child_subreaper(true)?;
    if !end_with(parent, Signal::SIGUSR1) {
        return Ok(ExitCode::FAILURE);
    }
    let own = own().ok_or(Errno::ENOENT)?;
    let mut command = Command::new(own);
    ask(&mut command, Role::Program, program);
    let child = command.args(args).spawn()?;
    let child = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
    loop {
        tokio::select! {
            _ = ended.recv() => if let Some(status) = reap(child) {
                return Ok(code(status));
            },
            // If it has ended meanwhile, that is what was wanted.
            _ = terminate.recv() => {
                kill(child, Signal::SIGTERM).ok();
            }
            _ = orphaned.recv() => {}
            _ = look.tick(), if cfg!(not(target_os = "linux")) => {}
        }
        if getppid() != parent {
            tree::kill_all(child);
            return Ok(ExitCode::FAILURE);
        }
    }
}

/// Takes note of all that has ended; returns how the program did, if it is among them.
///
/// What the program leaves behind when it ends becomes this process's child.
fn reap(program: Pid) -> Option<ExitStatus> {
    let mut found = None;
    loop {
        let (pid, raw) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => (pid, code << 8),
            Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, signal as i32),
            Ok(WaitStatus::StillAlive) | Err(_) => return found,
            Ok(_) => continue,
        };
        if pid == program {
            found = Some(ExitStatus::from_raw(raw));
        }
    }
}

/// Returns the exit code, or 128 and the signal's number as shells do.
fn code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
