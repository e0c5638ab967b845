//! Whose the processes of shells are: ours, but never root's.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::unistd::{Gid, Uid, User};
use tempfile::TempDir;

use crate::postgres::may_enter_all;

/// Who takes root's place unless the options name another.
const DEFAULT: &str = "nobody";

/// A user without privileges, whom shells run as because we are root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ShellUser {
    pub(super) uid: Uid,
    pub(super) gid: Gid,
}

/// Returns who takes our place in shells; nobody has to if we are not root.
///
/// # Errors
/// Why there can be no shell, as a line for whoever asked for one.
pub(super) fn find(wanted: Option<&str>) -> Result<Option<ShellUser>, String> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    let name = wanted.unwrap_or(DEFAULT);
    match User::from_name(name).ok().flatten() {
        Some(user) if !user.uid.is_root() => Ok(Some(ShellUser { uid: user.uid, gid: user.gid })),
        Some(_) => Err(format!("`{name}` is root, as whom no shell runs here\n")),
        None => Err(format!("there is no user `{name}`, and as root no shell runs here\n")),
    }
}

/// Makes a folder that a shell begins in, for its user alone.
pub(super) fn home(user: Option<ShellUser>) -> std::io::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    let builder = builder.permissions(Permissions::from_mode(0o700));
    let Some(ShellUser { uid, gid }) = user else { return builder.tempdir() };
    let usual = std::env::temp_dir();
    let base = if may_enter_all(&usual, uid, gid) { usual.as_path() } else { Path::new("/tmp") };
    let home = builder.tempdir_in(base)?;
    std::os::unix::fs::chown(home.path(), Some(uid.as_raw()), Some(gid.as_raw()))?;
    Ok(home)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_shell_is_root_s() {
        let is_root = Uid::effective().is_root();
        assert_eq!(find(None).unwrap().is_some(), is_root);
        for name in ["root", "no-such-user-here"] {
            assert_eq!(find(Some(name)).is_err(), is_root, "{name}");
        }
    }
}
