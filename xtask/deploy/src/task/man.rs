//! `man`: a manual page for the program and for each of its tasks.

use std::process::ExitCode;

use crate::failure::Failure;
use crate::program;

/// Writes the pages.
///
/// # Errors
/// Exit 2 if the folder cannot be made or written to.
pub fn run(args: &xtask::Man) -> Result<ExitCode, Failure> {
    let command = program::command().name(program::file_name());
    let written =
        std::fs::create_dir_all(&args.dir).and_then(|()| clap_mangen::generate_to(command, &args.dir));
    written.map_err(|error| Failure::usage(format!("cannot write to `{}`: {error}", args.dir.display())))?;
    Ok(ExitCode::SUCCESS)
}
