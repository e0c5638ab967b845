//! Who runs PostgreSQL: it refuses to run as root.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::{Gid, Uid, User};

use crate::Error;

/// The account that PostgreSQL's programs run under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Account {
    /// Our own, which is not root's.
    Own,
    /// An unprivileged user's, taken because we are root.
    Other { name: String, uid: Uid, gid: Gid },
    /// Root's own files, in a user namespace where root goes by an unprivileged user's number.
    ///
    /// For clones in folders that only root may enter, such as its home.
    Namespace { uid: Uid, gid: Gid },
}

impl Account {
    /// Returns an account that may enter all those folders and is not root's.
    pub(crate) fn find(folders: &[&Path]) -> Result<Account, Error> {
        if !Uid::effective().is_root() {
            return Ok(Account::Own);
        }
        let Some(user) = unprivileged() else { return Err(Error::NoUser) };
        let (uid, gid) = (user.uid, user.gid);
        let closed = folders.iter().find_map(|folder| find_closed(folder, uid, gid));
        // Much else runs as `nobody`, which could read its files: root's own are better where they can be had.
        if closed.is_none() && user.name != NOBODY {
            return Ok(Account::Other { name: user.name, uid, gid });
        }
        let namespace = Account::Namespace { uid, gid };
        let place = closed.as_deref().or(folders.first().copied()).unwrap_or(Path::new("/"));
        if crate::process::run(namespace.command("test").arg("-x").arg(place)).is_ok() {
            return Ok(namespace);
        }
        match closed {
            None => Ok(Account::Other { name: user.name, uid, gid }),
            Some(folder) => Err(Error::Unreachable { user: user.name, folder }),
        }
    }

    /// Returns a word for the names of files that belong to this account.
    pub(crate) fn label(&self) -> String {
        match self {
            Account::Own => format!("u{}", Uid::effective()),
            Account::Other { uid, .. } => format!("u{uid}"),
            Account::Namespace { .. } => "u0".to_owned(),
        }
    }

    /// Returns a command that runs under the account, without our environment.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = match self {
            Account::Own => Command::new(program),
            Account::Other { uid, gid, .. } => {
                let mut command = Command::new(program);
                // The standard library drops root's other groups along with this.
                command.uid(uid.as_raw()).gid(gid.as_raw());
                command
            }
            Account::Namespace { uid, gid } => {
                let mut command = Command::new("unshare");
                command.args(["--user", &format!("--map-user={uid}"), &format!("--map-group={gid}"), "--"]);
                command.arg(program);
                command
            }
        };
        // PGDATA, PGOPTIONS and their like are the user's, not the sandbox's.
        command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command
    }

    /// Makes a folder, private to the account.
    pub(crate) fn create_dir(&self, dir: &Path) -> Result<(), Error> {
        fs::create_dir_all(dir).map_err(Error::file("create", dir))?;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(Error::file("restrict", dir))?;
        if let Account::Other { uid, gid, .. } = self {
            std::os::unix::fs::chown(dir, Some(uid.as_raw()), Some(gid.as_raw()))
                .map_err(Error::file("change the owner of", dir))?;
        }
        Ok(())
    }
}

const NOBODY: &str = "nobody";

/// Returns the user that PostgreSQL runs as where we are root.
fn unprivileged() -> Option<User> {
    let named = |name| User::from_name(name).ok().flatten();
    named("postgres").or_else(|| named(NOBODY))
}

/// Closes a folder to everybody but its owner. Where that is root, PostgreSQL's group may pass through it, and not look.
pub(crate) fn keep_out_others(dir: &Path) -> Result<(), Error> {
    let restrict = |mode| {
        fs::set_permissions(dir, fs::Permissions::from_mode(mode)).map_err(Error::file("restrict", dir))
    };
    // First of all, whatever comes next.
    restrict(0o700)?;
    match unprivileged().filter(|_| Uid::effective().is_root()) {
        None => Ok(()),
        Some(user) => {
            std::os::unix::fs::chown(dir, None, Some(user.gid.as_raw()))
                .map_err(Error::file("change the group of", dir))?;
            restrict(0o710)
        }
    }
}

/// Tells whether a user may enter a folder and all that lead there.
pub(crate) fn may_enter_all(path: &Path, uid: Uid, gid: Gid) -> bool {
    find_closed(path, uid, gid).is_none()
}

/// Returns the first folder on the way to `path`, from the root down, that the user may not enter.
fn find_closed(path: &Path, uid: Uid, gid: Gid) -> Option<PathBuf> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut way: Vec<&Path> = path.ancestors().filter(|folder| folder.is_dir()).collect();
    way.reverse();
    way.into_iter().find(|folder| !may_enter(folder, uid, gid)).map(Path::to_owned)
}

fn may_enter(folder: &Path, uid: Uid, gid: Gid) -> bool {
    let Ok(metadata) = fs::metadata(folder) else { return false };
    let bit = if metadata.uid() == uid.as_raw() {
        0o100
    } else if metadata.gid() == gid.as_raw() {
        0o010
    } else {
        0o001
    };
    metadata.mode() & bit != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outermost_closed_folder_is_named() {
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let (outer, inner) = (root.path().join("outer"), root.path().join("outer/inner"));
        fs::create_dir_all(&inner).unwrap();
        let (stranger, its_group) = (Uid::from_raw(54_321), Gid::from_raw(54_321));
        fs::set_permissions(&outer, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find_closed(&inner, stranger, its_group), None);
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o700)).unwrap();
        fs::set_permissions(&outer, fs::Permissions::from_mode(0o750)).unwrap();
        assert_eq!(find_closed(&inner, stranger, its_group), Some(fs::canonicalize(outer).unwrap()));
    }
}
