//! `completions`: prints the completions of a shell.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::failure::Failure;

/// Prints the script on standard output.
pub fn run(args: &xtask::Completions) -> Result<ExitCode, Failure> {
    let shell: Shell = args.shell.parse().map_err(Failure::usage)?;
    clap_complete::generate(shell, &mut xtask::Cli::command(), "cargo-xtask", &mut std::io::stdout());
    Ok(ExitCode::SUCCESS)
}
