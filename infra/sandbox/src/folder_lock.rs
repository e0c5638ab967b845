//! The lock on a sandbox's folder: its file tells which process has the folder.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::Path;

use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::Error;

/// The lock's name in the folder.
pub(crate) const LOCK: &str = "sandbox.lock";

/// Tells whether a process has the folder: its sandbox runs, is being started or comes to its end.
///
/// # Errors
/// [`Error::File`] if the folder cannot be used.
pub fn is_taken(dir: &Path) -> Result<bool, Error> {
    Ok(dir.join(LOCK).exists() && try_lock(dir)?.is_none())
}

/// Takes possession of the folder, which must exist.
pub(crate) fn lock(dir: &Path) -> Result<File, Error> {
    let Some(mut file) = try_lock(dir)? else {
        return Err(Error::AlreadyRunning { dir: dir.to_owned(), pid: owner(dir) });
    };
    // Until it is ready, nothing else tells whose it is.
    let pid = own_pid();
    let written = file.set_len(0).and_then(|()| file.write_all(format!("{pid} {}", started(pid)).as_bytes()));
    written.map_err(Error::file("write", &dir.join(LOCK)))?;
    Ok(file)
}

/// Takes the lock if nobody has it.
pub(crate) fn try_lock(dir: &Path) -> Result<Option<File>, Error> {
    let path = dir.join(LOCK);
    let mut options = File::options();
    // What is in it is its holder's.
    options.create(true).write(true).truncate(false);
    let file = options.open(&path).map_err(Error::file("create", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(Error::file("lock", &path)(source)),
    }
}

/// Returns the process that has the lock, once it has said so and if it is still there.
pub(crate) fn owner(dir: &Path) -> Option<i32> {
    let text = fs::read_to_string(dir.join(LOCK)).ok()?;
    let (pid, began) = text.split_once(' ')?;
    let pid = pid.parse().ok()?;
    // A process that was killed before this one took the lock may have left its number there, which is somebody else's now.
    (is_alive(pid) && started(pid) == began).then_some(pid)
}

/// Returns when a process began, in whatever unit; nothing where that cannot be known.
fn started(pid: i32) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // proc_pid_stat(5): the second field is a name in parentheses, with whatever in it; the 22nd is when it began.
    let fields = stat.rsplit_once(')').map(|(_, fields)| fields).unwrap_or_default();
    fields.split_whitespace().nth(19).unwrap_or_default().to_owned()
}

/// Returns the id of this process.
pub(crate) fn own_pid() -> i32 {
    i32::try_from(std::process::id()).unwrap_or_default()
}

/// Tells whether a process of that id exists.
pub(crate) fn is_alive(pid: i32) -> bool {
    // No permission to signal it also means that it is there.
    pid > 0 && kill(Pid::from_raw(pid), None) != Err(nix::errno::Errno::ESRCH)
}
