//! `completions`: prints the completions of a shell.

use std::process::ExitCode;

use clap_complete::Shell;

use crate::failure::Failure;
use crate::{program, view};

/// Prints the script on standard output.
pub fn run(args: &xtask::Completions) -> Result<ExitCode, Failure> {
    let shell: Shell = args.shell.parse().map_err(Failure::usage)?;
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut program::command(), program::file_name(), &mut script);
    view::pass(String::from_utf8_lossy(&script).trim_end())?;
    Ok(ExitCode::SUCCESS)
}
