//! `check`: what must hold before a commit.

use std::process::ExitCode;

use xshell::{Cmd, Shell, cmd};

use crate::workspace;

/// Runs every check and reports all that failed, not only the first.
pub(crate) fn run(sh: &Shell) -> anyhow::Result<ExitCode> {
    let _root = sh.push_dir(workspace::root());
    let mut failed = Vec::new();
    check(&mut failed, "format", cmd!(sh, "cargo fmt --all --check"));
    if workspace::succeeds(cmd!(sh, "cargo deny --version")) {
        // Advisories need a database of their own from the network: the workflow checks them.
        let deny = cmd!(sh, "cargo deny --locked check bans licenses sources");
        check(&mut failed, "licences and sources", deny);
    } else if workspace::is_ci() {
        eprintln!("error: `cargo deny` is missing; install it with `cargo install --locked cargo-deny`");
        failed.push("licences and sources");
    } else {
        eprintln!("skipped: licences and sources; `cargo install --locked cargo-deny` adds them");
    }
    workspace::announce_heavy_build()?;
    let clippy = cmd!(sh, "cargo clippy --workspace --all-targets --locked -- --deny warnings");
    check(&mut failed, "lints", clippy);
    anyhow::ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    eprintln!("check: all passed");
    Ok(ExitCode::SUCCESS)
}

fn check(failed: &mut Vec<&'static str>, name: &'static str, cmd: Cmd<'_>) {
    eprintln!("check: {name}");
    if let Err(error) = cmd.quiet().run() {
        eprintln!("error: {error}");
        failed.push(name);
    }
}
