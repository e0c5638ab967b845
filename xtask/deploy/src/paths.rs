//! Paths of the files that the tasks read.

use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::program;

/// The stack file, relative to the workspace's root.
pub const STACK_FILE: &str = "infra/stack.toml";
/// The demo's stack file, relative to the workspace's root.
pub const DEMO_FILE: &str = "infra/demo.toml";
/// The content of [`DEMO_FILE`]: the demo needs no checkout.
pub const DEMO: &[u8] = include_bytes!("../../../infra/demo.toml");
/// The RDS roots, shipped with the project.
pub const RDS_ROOTS: &[u8] = include_bytes!("../../../infra/rds-global-bundle.pem");

/// Returns the nearest folder above the current one that holds the stack file; else the workspace that this program was
/// built in, if cargo runs it; else the current folder.
pub fn workspace() -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    let found = here.ancestors().find(|dir| dir.join(STACK_FILE).is_file()).map(Path::to_owned);
    found.unwrap_or_else(|| if program::is_installed() { here } else { Path::new(SOURCES).to_owned() })
}

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// Returns the folder for the sandboxes' files: `sandbox` in the target directory, or in the user's cache if this program is
/// installed.
///
/// # Errors
/// Neither folder exists.
pub fn sandboxes() -> Result<PathBuf, Failure> {
    let own = std::env::current_exe()?;
    if program::is_installed() {
        let folder = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let cache = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
        let cache =
            cache.ok_or_else(|| Failure::usage("the sandbox needs a folder: set HOME or XDG_CACHE_HOME"))?;
        return Ok(cache.join("drawbridge/sandbox"));
    }
    // A test binary lies one folder deeper, in `deps`.
    let target = own.ancestors().skip(1).find(|dir| dir.ends_with("debug") || dir.ends_with("release"));
    let target = target.and_then(Path::parent).ok_or_else(|| {
        Failure::usage(format!(
            "`{}` does not lie in a target directory; the sandbox needs one",
            own.display()
        ))
    })?;
    Ok(target.join("sandbox"))
}
