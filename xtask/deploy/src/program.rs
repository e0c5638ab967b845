//! How a command is typed here: this program's name, `cargo xtask` where that runs it, and the options that say which stack,
//! sandbox and profile it is about.
//!
//! Texts everywhere say `cargo xtask up`. All that is shown goes through [`called`], so that no text can forget an option.

use std::borrow::Cow;
use std::path::Path;
use std::sync::{LazyLock, OnceLock};

use clap::{Command, CommandFactory};
use serde::Serialize;
use serde_json::{Value, json};
use xtask::Global;

use crate::escape;

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
/// The options as they were given, with a space before each; empty if none was.
static GIVEN: OnceLock<String> = OnceLock::new();
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

/// The variable in which a program hands the sandbox's name to the one that it becomes.
pub const SANDBOX: &str = "DRAWBRIDGE_SANDBOX";
/// The name of the sandbox that `--sandbox` without a name means.
pub const DEFAULT_SANDBOX: &str = "default";

/// Remembers the options that say which stack, sandbox and profile this run is about. Only the first call counts.
pub fn remember(global: &Global) {
    let inherited = || std::env::var(SANDBOX).ok().filter(|name| !name.is_empty());
    let sandbox = global.sandbox.clone().or_else(inherited);
    let stack = global.stack.as_deref().map(|file| file.to_string_lossy());
    // A second call comes from tests that run several tasks in a process.
    let given = options(stack.as_deref(), sandbox.as_deref(), global.profile.as_deref());
    // It comes into lines that are whole already.
    drop(GIVEN.set(escape::line(&given)));
}

fn options(stack: Option<&str>, sandbox: Option<&str>, profile: Option<&str>) -> String {
    let mut text = String::new();
    if let Some(file) = stack {
        text.push_str(&format!(" --stack {}", quote(file)));
    }
    match sandbox {
        None => {}
        Some(DEFAULT_SANDBOX) => text.push_str(" --sandbox"),
        Some(name) => text.push_str(&format!(" --sandbox={}", quote(name))),
    }
    if let Some(profile) = profile {
        text.push_str(&format!(" --profile {}", quote(profile)));
    }
    text
}

/// Quotes a word for a POSIX shell, if it needs that. No argument holds a NUL, which cannot be quoted.
pub fn quote(word: &str) -> Cow<'_, str> {
    shlex::try_quote(word).unwrap_or(Cow::Borrowed("''"))
}

fn given() -> &'static str {
    GIVEN.get().map_or("", String::as_str)
}

/// Returns a text with the commands in it as they are typed here: `cargo xtask up` becomes
/// `drawbridge --stack staging.toml up`.
pub fn called(text: &str) -> Cow<'_, str> {
    render(text, name(), given())
}

/// As [`called`], for a text that is HTML or XML.
pub fn called_in_markup(text: &str) -> Cow<'_, str> {
    render(text, name(), &escape::markup(given()))
}

/// Returns the document as JSON, with the commands in its strings as they are typed here.
pub fn called_json(document: &impl Serialize) -> String {
    match serde_json::to_string(document) {
        // As it is: its fields keep their order.
        Ok(text) if !text.contains(CARGO_XTASK) => text,
        Ok(_) | Err(_) => called_value(document).to_string(),
    }
}

/// As [`called_json`], for a document that is written in another form.
pub fn called_value(document: &impl Serialize) -> Value {
    let mut value = json!(document);
    rename(&mut value);
    value
}

fn rename(value: &mut Value) {
    match value {
        Value::String(text) => *text = called(text).into_owned(),
        Value::Array(values) => values.iter_mut().for_each(rename),
        Value::Object(fields) => fields.values_mut().for_each(rename),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn render<'a>(text: &'a str, name: &str, given: &str) -> Cow<'a, str> {
    if (name == CARGO_XTASK && given.is_empty()) || !text.contains(CARGO_XTASK) {
        return Cow::Borrowed(text);
    }
    let mut pieces = text.split(CARGO_XTASK);
    let mut rendered = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        rendered.push_str(name);
        if takes_options(piece) {
            rendered.push_str(given);
        }
        rendered.push_str(piece);
    }
    rendered.into()
}

/// Tells whether what follows the program's name is a task that is about a stack.
fn takes_options(rest: &str) -> bool {
    let Some(rest) = rest.strip_prefix(' ') else { return false };
    let task: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    task.starts_with(|c: char| c.is_ascii_alphabetic()) && !WITH_SOURCES.contains(&task.as_str())
}

/// Returns the command line under that name. Without cargo, what needs the sources is left out of the help.
pub fn command() -> Command {
    let command = xtask::Cli::command();
    if !is_installed() {
        return command;
    }
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let command = command.name(name()).bin_name(name()).after_help(after.replace(CARGO_XTASK, name()));
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
    fn a_command_carries_the_options_as_they_were_given() {
        let given = options(Some("my stack.toml"), Some("shop"), Some("staging"));
        let text = "run `cargo xtask bastion stop`, `cargo xtask`; then cargo xtask up; `cargo xtask test`";
        assert_eq!(
            render(text, "cargo xtask", &given),
            "run `cargo xtask --stack 'my stack.toml' --sandbox=shop --profile staging bastion stop`, `cargo xtask`; then \
             cargo xtask --stack 'my stack.toml' --sandbox=shop --profile staging up; `cargo xtask test`"
        );
        let again = render("`cargo xtask up`", "drawbridge", &options(None, Some("default"), None));
        assert_eq!(again, "`drawbridge --sandbox up`");
        assert_eq!(render(&again, "drawbridge", " --sandbox"), again, "twice is once");
        assert_eq!(render("`cargo xtask up`", "cargo xtask", ""), "`cargo xtask up`");
    }

    #[test]
    fn words_are_quoted_for_a_shell_only_where_they_must_be() {
        assert_eq!(
            (quote("a/b-1.toml"), quote("it's"), quote("")),
            ("a/b-1.toml".into(), "\"it's\"".into(), "''".into())
        );
    }

    #[test]
    fn every_task_that_is_left_out_exists() {
        let command = xtask::Cli::command();
        for task in WITH_SOURCES {
            assert!(command.find_subcommand(task).is_some(), "{task}");
        }
    }
}
