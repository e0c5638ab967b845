//! Hands a task to `deploy`, building it first.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::Context;
use xshell::{Shell, cmd};

use crate::workspace;

/// Builds `deploy` and becomes it, so that signals, terminal and exit code are its own.
pub(crate) fn exec(sh: &Shell) -> anyhow::Result<ExitCode> {
    workspace::announce_heavy_build()?;
    let deploy = workspace::deploy()?;
    let quiet = deploy.exists().then_some("--quiet");
    {
        let _root = sh.push_dir(workspace::root());
        cmd!(sh, "cargo build --locked --package deploy {quiet...}").quiet().run()?;
    }
    let error = Command::new(&deploy).args(std::env::args_os().skip(1)).exec();
    Err(error).with_context(|| format!("cannot run `{}`", deploy.display()))
}
