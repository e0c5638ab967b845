//! The marker on a file's first line: which transaction it runs in.

use serde::Serialize;

const MARKER: &str = "drawbridge:";
const KNOWN: [(&str, Mode); 2] =
    [("own-transaction", Mode::OwnTransaction), ("no-transaction", Mode::NoTransaction)];

/// Which transaction a migration runs in. A comment on its first line tells, so the checksum covers it and plain
/// refinery passes over it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// One transaction with everything else that is pending: no marker.
    #[default]
    Grouped,
    /// A transaction of its own, after all before it is committed: `-- drawbridge: own-transaction`.
    OwnTransaction,
    /// None at all, one statement after the other: `-- drawbridge: no-transaction`.
    NoTransaction,
}

/// Returns the mode that the first line asks for, or why the marker cannot be obeyed.
pub(super) fn parse(sql: &str) -> Result<Mode, String> {
    let first = sql.lines().next().unwrap_or_default();
    let Some(word) = first.trim().strip_prefix("--").and_then(|comment| comment.trim().strip_prefix(MARKER))
    else {
        return Ok(Mode::Grouped);
    };
    let word = word.trim();
    // An exemption for the first statement, which the lint reads.
    if word.starts_with("allow ") {
        return Ok(Mode::Grouped);
    }
    KNOWN.iter().find(|(known, _)| *known == word).map(|(_, mode)| *mode).ok_or_else(|| {
        let shown: String = word.escape_debug().take(60).collect();
        let known: Vec<String> = KNOWN.iter().map(|(known, _)| format!("`{known}`")).collect();
        format!("line 1: `-- {MARKER} {shown}` is unknown; there are {}", known.join(" and "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_on_the_first_line_picks_the_transaction() {
        assert_eq!(parse("-- drawbridge: own-transaction\nSELECT 1;"), Ok(Mode::OwnTransaction));
        assert_eq!(parse("--drawbridge:no-transaction \nSELECT 1;"), Ok(Mode::NoTransaction));
        assert_eq!(parse("-- adds orders\n-- the drawbridge: is up\nSELECT 1;"), Ok(Mode::Grouped));
        assert_eq!(parse("-- drawbridge: allow drop-table\nDROP TABLE a;"), Ok(Mode::Grouped));
        assert_eq!(parse(""), Ok(Mode::Grouped));
    }

    #[test]
    fn a_marker_that_nobody_knows_is_refused_with_its_line() {
        for word in ["no-transation", "no-transaction, own-transaction", "", "NO-TRANSACTION"] {
            let refused = parse(&format!("-- drawbridge: {word}\nSELECT 1;")).unwrap_err();
            assert!(refused.starts_with(&format!("line 1: `-- drawbridge: {word}`")), "{refused}");
        }
    }
}
