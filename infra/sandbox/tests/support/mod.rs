//! What the tests of the sandbox share.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sandbox::Runtime;
use tempfile::TempDir;

/// Returns the folder that all sandboxes of this workspace share.
pub(crate) fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("sandbox")
}

/// Returns the virtual environment; the first test of all makes it.
pub(crate) fn runtime() -> Runtime {
    Runtime::ensure(&cache(), &|line| println!("{line}")).unwrap()
}

/// Returns an empty folder below the target directory that everybody may enter.
pub(crate) fn folder() -> TempDir {
    let everybody = Permissions::from_mode(0o755);
    tempfile::Builder::new().permissions(everybody).tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}
