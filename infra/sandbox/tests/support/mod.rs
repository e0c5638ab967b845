//! What the tests of the sandbox share.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sandbox::Runtime;
use tempfile::TempDir;

/// How long a test waits for what comes in seconds, on a machine that does much else.
pub(crate) const LIMIT: Duration = Duration::from_secs(240);

/// Returns the folder that all sandboxes of this workspace share.
pub(crate) fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("sandbox")
}

/// Returns the virtual environment; the first test of all makes it.
pub(crate) fn runtime() -> Runtime {
    Runtime::ensure(&cache(), &|line| println!("{line}")).unwrap()
}

/// Returns an empty folder that everybody may enter: where `cargo xtask test` lets tests write, or below the target directory.
pub(crate) fn folder() -> TempDir {
    let base = std::env::var_os("DRAWBRIDGE_TEST_DIR").unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").into());
    let everybody = Permissions::from_mode(0o755);
    tempfile::Builder::new().permissions(everybody).tempdir_in(base).unwrap()
}
