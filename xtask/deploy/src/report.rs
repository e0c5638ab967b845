//! What a run or a look leaves behind for others: JUnit for CI, a page for people.

pub mod extension;
pub mod html;
pub mod junit;
pub mod matrix;
pub mod page;
pub mod release;
pub mod resources;
pub mod status;

use db::migrate;

use crate::context::Context;
use crate::failure::Failure;
pub use crate::file::{try_writing, write};

/// Returns what the task comes to once its report is written or not: a report that cannot be written fails what else went
/// well, and is a warning beside another failure, which says more.
///
/// # Errors
/// The task's own, or else the report's.
pub fn after(
    context: &Context,
    outcome: Result<(), Failure>,
    written: Result<(), Failure>,
) -> Result<(), Failure> {
    match (outcome, written) {
        (Err(failure), Err(unwritten)) => {
            context.events.warn(unwritten.chain());
            Err(failure)
        }
        (outcome, written) => outcome.and(written),
    }
}

/// Returns what became of a tenant, for people.
pub fn outcome(outcome: &migrate::Outcome) -> String {
    match outcome {
        migrate::Outcome::UpToDate => "up to date".to_owned(),
        migrate::Outcome::Applied { migrations } => format!("applied {}", migrations.join(", ")),
        migrate::Outcome::Failed { applied, migration, error } => {
            let at = migration.as_ref().map(|at| format!(" at {at}")).unwrap_or_default();
            format!("failed{at} after {} applied: {}", applied.len(), error.chain())
        }
        migrate::Outcome::Interrupted { applied, state } => {
            format!("interrupted after {} applied: {state}", applied.len())
        }
        migrate::Outcome::NotStarted { reason } => format!("not started: {reason}"),
    }
}

/// Returns a text as a terminal may be given it: what moves the cursor or turns text round is escaped.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\'' | '\\' => plain.push(c),
            _ => plain.extend(c.escape_debug()),
        }
    }
    plain
}

/// Returns a text as it may stand between tags or in a quoted attribute, in HTML and in XML: what is markup is escaped,
/// and so is what moves the cursor, turns text round or may not be in XML at all.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\\' => escaped.push(c),
            _ => escaped.extend(c.escape_debug()),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_and_what_hides_text_are_escaped() {
        assert_eq!(escape("<b a=\"1\">'&'</b>"), "&lt;b a=&quot;1&quot;&gt;&#39;&amp;&#39;&lt;/b&gt;");
        assert_eq!(escape("a\u{1b}[2J\0\u{202e}b\r\nü\\"), "a\\u{1b}[2J\\0\\u{202e}b\\r\nü\\");
        assert_eq!(escape("\u{fffe}\u{ffff}"), "\\u{fffe}\\u{ffff}");
    }
}
