//! Programs whose output is of interest only when they fail.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context;

const SHOWN_LINES: usize = 30;

/// Runs the command with its output appended to the file.
///
/// # Errors
/// The end of the file, if the command fails.
pub(super) fn run(command: &mut Command, path: &Path) -> anyhow::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let open = || File::options().create(true).append(true).open(path);
    let out = open().with_context(|| format!("cannot write `{}`", path.display()))?;
    let err = out.try_clone().with_context(|| format!("cannot write `{}`", path.display()))?;
    let status = command.stdin(Stdio::null()).stdout(out).stderr(err).status();
    let status = status.with_context(|| format!("cannot run `{program}`"))?;
    if status.success() {
        return Ok(());
    }
    let text = fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let end = lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n  ");
    anyhow::bail!("`{program}` failed ({status}); the end of `{}`:\n  {end}", path.display())
}
