//! Text for people: lines that nothing leads out of.
//!
//! Architecture invariant: the screen takes nothing else. Whoever shows something puts it into lines here, and what others
//! wrote stays in its line, whatever it holds. What programs read goes another way: [`crate::view::pass`].

use std::fmt::{self, Display};
use std::ops::Deref;

use crate::escape;
use crate::program;

/// Of a text of many lines so many are shown.
const MOST_LINES: usize = 60;
/// What begins a further line of what others wrote: it looks like nothing of ours, and no CI takes it for a command.
const GOES_ON: &str = "    | ";

/// Lines; each is one, and holds no control character.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    lines: String,
    /// An empty text has no line, and one empty line is one.
    count: usize,
}

impl Text {
    /// Returns a text without a line.
    pub const fn new() -> Text {
        Text { lines: String::new(), count: 0 }
    }

    /// Returns a text of one line.
    pub fn of(line: impl Display) -> Text {
        let mut text = Text::new();
        text.line(line);
        text
    }

    /// Returns a document as JSON on one line.
    pub(crate) fn json(document: &impl serde::Serialize) -> Text {
        Text { lines: escape::json(&program::called_json(document)), count: 1 }
    }

    /// Adds one line. What would end it is shown as `\n`.
    pub fn line(&mut self, line: impl Display) {
        self.push(&escape::line(&line.to_string()));
    }

    /// Adds an empty line.
    pub fn blank(&mut self) {
        self.push("");
    }

    /// Adds lines that are lines already.
    pub fn add(&mut self, text: &Text) {
        if text.count > 0 {
            self.push(&text.lines);
        }
    }

    /// Adds what may have lines of its own, as PostgreSQL's messages do: those after the first are marked as its own.
    pub fn paragraph(&mut self, text: impl Display) {
        let text = text.to_string();
        let mut lines = text.trim_end().split('\n').map(|line| line.trim_end_matches('\r'));
        self.line(lines.next().unwrap_or_default());
        for line in lines.by_ref().take(MOST_LINES) {
            self.push(&format!("{GOES_ON}{}", escape::line(&line.replace('\t', "    "))));
        }
        let left = lines.count();
        if left > 0 {
            self.push(&format!("{GOES_ON}.. and {left} more lines"));
        }
    }

    /// Adds the lines of a file of the user's own, tabs and all, as they are but for what a terminal acts on.
    pub fn file(&mut self, text: &str) {
        for line in text.trim_end().lines() {
            self.line(line.replace('\t', "    "));
        }
    }

    /// Tells whether there is no line.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Returns the same with its commands as they are typed here.
    pub(crate) fn called(&self) -> Text {
        Text { lines: program::called(&self.lines).into_owned(), count: self.count }
    }

    fn push(&mut self, line: &str) {
        if self.count > 0 {
            self.lines.push('\n');
        }
        self.lines.push_str(line);
        self.count += 1;
    }
}

/// Adds a line: `put_line!(text, "{tenant}: {outcome}")`.
macro_rules! put_line {
    ($text:expr, $($line:tt)+) => { $text.line(format_args!($($line)+)) };
}
pub(crate) use put_line;

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.lines
    }
}

impl Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines)
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.lines == *other
    }
}

impl FromIterator<Text> for Text {
    fn from_iter<I: IntoIterator<Item = Text>>(texts: I) -> Text {
        let mut all = Text::new();
        texts.into_iter().for_each(|text| all.add(&text));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_others_neither_ends_nor_begins_one_of_ours() {
        let mut text = Text::new();
        put_line!(text, "tenant: {}", "a\nhint: run `rm`");
        text.blank();
        text.paragraph("ERROR: a\n\thint: b\r\n::error::c\n");
        assert_eq!(text, "tenant: a\\nhint: run `rm`\n\nERROR: a\n    |     hint: b\n    | \\u{3a}:error::c");
    }

    #[test]
    fn an_endless_message_ends() {
        let mut text = Text::new();
        text.paragraph("x\n".repeat(1000));
        assert_eq!(text.lines().count(), MOST_LINES + 2);
        assert!(text.ends_with(".. and 939 more lines"), "{text}");
    }
}
