use std::fmt::Write as _;

/// What is wrong with the configuration, where, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}")]
pub struct ConfigError {
    /// The file, as it was named.
    pub file: String,
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: String,
}

/// What is wrong with a value, before anyone knows where it stands.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) message: String,
    pub(crate) help: String,
}

impl Problem {
    pub(crate) fn new(message: impl Into<String>, help: impl Into<String>) -> Problem {
        Problem { message: message.into(), help: help.into() }
    }
}

/// The text of a file and the name that the user knows it by.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) file: &'a str,
    pub(crate) text: &'a str,
}

impl Source<'_> {
    /// Says that there is a problem at this byte.
    pub(crate) fn fail(self, at: usize, problem: Problem) -> ConfigError {
        let before = &self.text[..self.text.floor_char_boundary(at)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        ConfigError {
            file: self.file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: problem.message,
            help: problem.help,
        }
    }
}

/// Returns what the user wrote so that it fits a line of a terminal: escaped, shortened, in backticks.
pub(crate) fn shown(text: &str) -> String {
    const LIMIT: usize = 60;
    let mut shown = String::from("`");
    for (count, c) in text.chars().enumerate() {
        if count == LIMIT {
            let _infallible = write!(shown, "..` ({} characters)", text.chars().count());
            return shown;
        }
        // Quotes stay as they are; what moves the cursor or turns the text round does not.
        if matches!(c, '"' | '\'') { shown.push(c) } else { shown.extend(c.escape_debug()) }
    }
    shown.push('`');
    shown
}
