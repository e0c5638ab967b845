//! `man`: a manual page for the program and for each of its tasks.

use std::process::ExitCode;

use crate::failure::Failure;
use crate::program;

/// Writes the pages.
///
/// # Errors
/// The folder cannot be made or written to.
pub fn run(args: &xtask::Man) -> Result<ExitCode, Failure> {
    std::fs::create_dir_all(&args.dir)?;
    let command = program::command().name(program::file_name());
    clap_mangen::generate_to(command, &args.dir)?;
    Ok(ExitCode::SUCCESS)
}
