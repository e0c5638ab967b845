//! Where a shell runs, and in which environment.

use std::ffi::OsString;
use std::path::Path;

use super::user::ShellUser;

/// The folder and the user of a shell; without a user it runs as this process's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) home: &'a Path,
    pub(super) user: Option<ShellUser>,
}

/// The environment of everything that runs here.
pub(super) fn environment(home: &Path) -> [(&'static str, OsString); 5] {
    [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into()),
        ("HOME", home.into()),
        ("TERM", "xterm-256color".into()),
        ("LANG", "C.UTF-8".into()),
        ("PS1", "bastion$ ".into()),
    ]
}
