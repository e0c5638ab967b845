//! Where the workspace is, and what its first build costs.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use xshell::{Cmd, Shell, cmd};

/// An error of the user's making: exit 2.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Returns the folder with the workspace's `Cargo.toml`.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("invariant: xtask/ lies in the workspace")
        .to_owned()
}

/// Returns the path of `deploy` in the target directory that this program lies in, built or not.
pub(crate) fn deploy() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("cannot tell where this program lies")?;
    Ok(own.with_file_name("deploy"))
}

/// Returns the target directory that this program was built into.
pub(crate) fn target_dir() -> anyhow::Result<PathBuf> {
    let deploy = deploy()?;
    let dir = deploy.parent().and_then(Path::parent).context("this program lies in no target directory")?;
    Ok(dir.to_owned())
}

/// Says what the first heavy build costs, if the AWS SDK has not been built yet.
pub(crate) fn announce_heavy_build() -> anyhow::Result<()> {
    if !deploy()?.exists() {
        eprintln!(
            "building the AWS SDK once: 4 to 6 minutes on 2 cores, up to 7.4 GB of memory; later builds take seconds"
        );
    }
    Ok(())
}

/// Tells whether this is continuous integration: `CI` is set, to anything but `false`.
pub(crate) fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|ci| !ci.is_empty() && ci != "false")
}

/// Returns the first 12 digits of git's hash of the text.
pub(crate) fn hash(sh: &Shell, text: &str) -> anyhow::Result<String> {
    let hash = cmd!(sh, "git hash-object --stdin").stdin(text).quiet().read()?;
    Ok(hash.chars().take(12).collect())
}

/// Tells whether `cmd` runs and succeeds.
pub(crate) fn succeeds(cmd: Cmd<'_>) -> bool {
    cmd.quiet().ignore_stdout().ignore_stderr().run().is_ok()
}
