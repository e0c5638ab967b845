//! `bench`: figures, in the profile that every task has.

use std::process::ExitCode;

use xshell::{Shell, cmd};
use xtask::Bench;

use crate::workspace;

/// Builds the program and the bench, and runs it.
pub(crate) fn run(sh: &Shell, bench: &Bench, json: bool) -> anyhow::Result<ExitCode> {
    let _root = sh.push_dir(workspace::root());
    workspace::announce_heavy_build()?;
    // The bench measures the real program.
    cmd!(sh, "cargo build --locked --package deploy").quiet().run()?;
    let name = match bench {
        Bench::Tunnel => "tunnel",
    };
    let args: &[&str] = if json { &["--json"] } else { &[] };
    // The whole workspace, so that it has the features of every other build, and the SDK is not built again.
    cmd!(sh, "cargo bench --quiet --profile dev --workspace --locked --bench {name} -- {args...}")
        .quiet()
        .run()?;
    Ok(ExitCode::SUCCESS)
}
