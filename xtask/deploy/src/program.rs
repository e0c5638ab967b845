//! What this program is called: `cargo xtask` where that runs it, else the name of its file.

use std::borrow::Cow;
use std::path::Path;
use std::sync::LazyLock;

use clap::{Command, CommandFactory};

/// How texts everywhere call it.
const CARGO_XTASK: &str = "cargo xtask";
/// The file that `cargo xtask` builds and runs; it is never installed under this name.
const DEPLOY: &str = "deploy";
/// What only works where the sources are.
const WITH_SOURCES: [&str; 8] = ["check", "test", "bench", "soak", "fuzz", "images", "dist", "migration"];

static NAME: LazyLock<String> = LazyLock::new(|| {
    let own = std::env::current_exe().ok();
    name_of(own.as_deref())
});
static FILE_NAME: LazyLock<String> = LazyLock::new(|| NAME.replace(' ', "-"));

fn name_of(own: Option<&Path>) -> String {
    // A test's program, in `deps`, has a name that nobody types.
    let own = own.filter(|own| !own.parent().is_some_and(|dir| dir.ends_with("deps")));
    match own.and_then(Path::file_stem).and_then(|stem| stem.to_str()) {
        Some(stem) if stem != DEPLOY => stem.to_owned(),
        _ => CARGO_XTASK.to_owned(),
    }
}

/// Returns what users type.
pub fn name() -> &'static str {
    &NAME
}

/// Tells whether this runs without cargo, on a machine that need not have the sources.
pub fn is_installed() -> bool {
    name() != CARGO_XTASK
}

/// Returns the file name that a shell completes: `cargo-xtask` for cargo's.
pub fn file_name() -> &'static str {
    &FILE_NAME
}

/// Returns a text with the commands in it as they are typed here.
pub fn called(text: &str) -> Cow<'_, str> {
    if !is_installed() { Cow::Borrowed(text) } else { text.replace(CARGO_XTASK, name()).into() }
}

/// Returns the command line under that name. Without cargo, what needs the sources is left out of the help.
pub fn command() -> Command {
    let command = xtask::Cli::command();
    if !is_installed() {
        return command;
    }
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let command = command.name(name()).bin_name(name()).after_help(called(&after).into_owned());
    WITH_SOURCES.iter().fold(command, |command, task| command.mut_subcommand(*task, |task| task.hide(true)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_that_of_the_file_unless_cargo_runs_it() {
        assert_eq!(name_of(Some(Path::new("/usr/bin/drawbridge"))), "drawbridge");
        assert_eq!(name_of(Some(Path::new("target/debug/deploy"))), CARGO_XTASK);
        assert_eq!(name_of(None), CARGO_XTASK);
    }

    #[test]
    fn every_task_that_is_left_out_exists() {
        let command = xtask::Cli::command();
        for task in WITH_SOURCES {
            assert!(command.find_subcommand(task).is_some(), "{task}");
        }
    }
}
