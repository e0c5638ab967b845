//! `check`: what must hold before a commit.

mod linter;

use std::process::ExitCode;

use xshell::{Cmd, Shell, cmd};

use crate::workspace;
use linter::Linters;

/// Runs every check and reports all that failed, not only the first.
pub(crate) fn run(sh: &Shell) -> anyhow::Result<ExitCode> {
    let _root = sh.push_dir(workspace::root());
    let mut failed = Vec::new();
    check(&mut failed, "format", cmd!(sh, "cargo fmt --all --check"));
    match Linters::ensure(sh) {
        Ok(linters) => {
            check(&mut failed, "workflows", linters.workflows(sh)?);
            check(&mut failed, "shell scripts", linters.scripts(sh)?);
            check(&mut failed, "shell fragments", linters.fragments(sh)?);
        }
        Err(error) => skip(&mut failed, "workflows and shell scripts", &format!("{error:#}")),
    }
    if workspace::succeeds(cmd!(sh, "cargo deny --version")) {
        let deny = cmd!(sh, "cargo deny --locked check bans licenses sources");
        check(&mut failed, "licences and sources", deny);
        check_advisories(sh, &mut failed);
    } else {
        let text = "`cargo deny` is missing; install it with `cargo install --locked cargo-deny`";
        skip(&mut failed, "licences and sources", text);
    }
    workspace::announce_heavy_build()?;
    check(&mut failed, "lints", clippy(sh));
    anyhow::ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    eprintln!("check: all passed");
    Ok(ExitCode::SUCCESS)
}

/// Returns the command that runs Clippy and denies its warnings.
///
/// `cargo clippy` only checks the crates that ours stand on, and the tests must build them again: on two cores that is ten
/// minutes for the AWS SDK. CI starts from nothing and runs both, so there Clippy's driver compiles our crates in a build
/// whose dependencies the tests then share. Nobody else pays for linking the test programs twice.
fn clippy(sh: &Shell) -> Cmd<'_> {
    if workspace::is_ci() {
        // What `cargo clippy` itself sets for the arguments after `--`.
        let denied = ["--deny", "warnings"].join("__CLIPPY_HACKERY__");
        return cmd!(sh, "cargo build --workspace --all-targets --locked")
            .env("RUSTC_WORKSPACE_WRAPPER", "clippy-driver")
            .env("CLIPPY_ARGS", denied);
    }
    cmd!(sh, "cargo clippy --workspace --all-targets --locked -- --deny warnings")
}

fn check(failed: &mut Vec<&'static str>, name: &'static str, cmd: Cmd<'_>) {
    eprintln!("check: {name}");
    if let Err(error) = cmd.quiet().run() {
        eprintln!("error: {error}");
        failed.push(name);
    }
}

/// Checks the crates against the RustSec advisories.
///
/// Their database comes from the network. Where it cannot be had and was never fetched, that is said and is no failure,
/// in CI either: a build must not depend on a second host being up. The workflow has a job of its own for them.
fn check_advisories(sh: &Shell, failed: &mut Vec<&'static str>) {
    let name = "advisories";
    if workspace::succeeds(cmd!(sh, "cargo deny --locked fetch db")) {
        check(failed, name, cmd!(sh, "cargo deny --locked --offline check advisories"));
    } else {
        eprintln!("skipped: {name}; `cargo deny fetch db` cannot fetch the RustSec database");
    }
}

/// Says what is not checked; where CI is set, that is a failure.
fn skip(failed: &mut Vec<&'static str>, name: &'static str, reason: &str) {
    if workspace::is_ci() {
        eprintln!("error: {reason}");
        failed.push(name);
    } else {
        eprintln!("skipped: {name}; {reason}");
    }
}
