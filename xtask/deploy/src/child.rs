//! Programs that this one starts: what they see of libpq's variables, and that they end when this one does.
//!
//! A program that is given a password must not outlive the tunnel that it was given it for: it would go on asking a port that
//! anybody may have taken meanwhile. So it runs under a guard (`guard`), which is this program once more.

mod guard;
mod libpq;
mod tree;

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, mpsc};

use anyhow::Context as _;
use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

pub use self::guard::step;
pub use self::libpq::{Libpq, Way};

/// Whether this program's own file knows the hidden command line of a guard: a test's does not.
static CAN_GUARD: AtomicBool = AtomicBool::new(false);

/// Has a guard look after each program that is started from now on. For a program that calls [`step`] first of all.
pub fn enable_guard() {
    CAN_GUARD.store(true, Ordering::Relaxed);
}

/// Returns a command that sees none of libpq's variables (`PG..`): a forgotten PGSERVICE outranks what we say.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"PG") {
            command.env_remove(name);
        }
    }
    command
}

/// A program that is given a password, and ends when this one does, however that comes about.
#[derive(Debug)]
pub struct Program {
    name: OsString,
    command: Command,
    args: Vec<OsString>,
    takes_conninfo: bool,
    is_guarded: bool,
}

impl Program {
    /// Returns one that sees none of libpq's variables but those that are set later.
    pub fn new(name: impl Into<OsString>) -> Program {
        let name = name.into();
        let own = guard::own().filter(|_| CAN_GUARD.load(Ordering::Relaxed));
        let is_guarded = own.is_some();
        let command = match own {
            Some(own) => {
                let mut command = command(own);
                guard::ask(command.as_std_mut(), guard::Role::Guard, &name);
                command
            }
            None => command(&name),
        };
        Program { name, command, args: Vec::new(), takes_conninfo: false, is_guarded }
    }

    /// As [`Program::new`], for one of PostgreSQL's that takes a connection as `--dbname`: that outranks every variable, also
    /// those that are not known yet.
    pub fn of_postgresql(name: impl Into<OsString>) -> Program {
        Program { takes_conninfo: true, ..Program::new(name) }
    }

    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(&mut self, args: impl IntoIterator<Item = S>) -> &mut Program {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Tells it where to connect, and as whom.
    pub fn connect(&mut self, to: &Libpq<'_>) {
        self.command.envs(to.variables());
        if self.takes_conninfo {
            self.command.arg(format!("--dbname={}", to.conninfo()));
        }
    }

    /// Returns the command, for its streams.
    pub fn command(&mut self) -> &mut Command {
        &mut self.command
    }

    /// Starts it.
    ///
    /// # Errors
    /// There is no such program, or it cannot be run.
    pub async fn spawn(self) -> anyhow::Result<Child> {
        let Program { name, mut command, args, is_guarded, .. } = self;
        command.args(args);
        let spawn = async {
            if is_guarded {
                find(&name)?;
            }
            on_lasting_thread(command).await
        };
        spawn.await.with_context(|| format!("cannot run `{}`", name.display()))
    }
}

/// Returns the first of that name on PATH which may be run, as the system will look for it.
fn find(program: &OsStr) -> io::Result<PathBuf> {
    let may_run = |path: &Path| {
        if path.is_file() { access(path, AccessFlags::X_OK) } else { Err(Errno::ENOENT) }
    };
    if program.as_encoded_bytes().contains(&b'/') {
        let path = PathBuf::from(program);
        return may_run(&path).map(|()| path).map_err(io::Error::from);
    }
    let folders = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    let mut refused = Errno::ENOENT;
    for folder in std::env::split_paths(&folders) {
        let path = folder.join(program);
        match may_run(&path) {
            Ok(()) => return Ok(path),
            Err(Errno::ENOENT) => {}
            Err(error) => refused = error,
        }
    }
    Err(refused.into())
}

/// Starts it on a thread that lives as long as this program: Linux takes the end of the thread that started a child for the
/// end of its parent, and a runtime's threads may end earlier.
async fn on_lasting_thread(mut command: Command) -> io::Result<Child> {
    type Job = Box<dyn FnOnce() + Send>;
    static JOBS: LazyLock<Option<mpsc::Sender<Job>>> = LazyLock::new(|| {
        let (sender, jobs) = mpsc::channel::<Job>();
        let work = move || jobs.into_iter().for_each(|job| job());
        std::thread::Builder::new().name("children".to_owned()).spawn(work).ok()?;
        Some(sender)
    });
    let (tell, told) = oneshot::channel();
    let runtime = Handle::current();
    let job = Box::new(move || {
        let _context = runtime.enter();
        tell.send(command.spawn()).ok();
    });
    // Without a thread there are no resources for a child either.
    let jobs = JOBS.as_ref().ok_or(Errno::EAGAIN)?;
    jobs.send(job).map_err(|_| Errno::EAGAIN)?;
    told.await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_looked_for_as_the_system_does() {
        assert!(find(OsStr::new("sh")).is_ok());
        let kind = |program: &str| find(OsStr::new(program)).unwrap_err().kind();
        assert_eq!(kind("no-such-program-anywhere"), io::ErrorKind::NotFound);
        assert_eq!(kind("/no/such/program"), io::ErrorKind::NotFound);
        assert_eq!(kind("/dev/null"), io::ErrorKind::NotFound);
        assert_eq!(kind(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")), io::ErrorKind::PermissionDenied);
    }
}
