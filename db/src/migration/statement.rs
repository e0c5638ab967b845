//! As much of SQL's lexer as it takes to see where statements begin.

/// Returns the line and the first word of the first statement that would leave the transaction.
pub(super) fn find_transaction_control(sql: &str) -> Option<(usize, &str)> {
    starts(sql).into_iter().find_map(|start| {
        let word = leading_word(&sql[start..]);
        let rest = sql[start + word.len()..].trim_start();
        let ends = match word.to_ascii_uppercase().as_str() {
            "BEGIN" | "COMMIT" | "END" | "ABORT" => true,
            "START" => leading_word(rest).eq_ignore_ascii_case("transaction"),
            "PREPARE" => leading_word(rest).eq_ignore_ascii_case("transaction"),
            // `ROLLBACK TO` a savepoint stays inside.
            "ROLLBACK" => !leads_to_savepoint(rest),
            _ => false,
        };
        ends.then(|| (1 + sql[..start].matches('\n').count(), word))
    })
}

/// Returns whether there is nothing but comments, white space and semicolons.
pub(super) fn is_blank(sql: &str) -> bool {
    starts(sql).is_empty()
}

/// Returns each statement with the line, counted from 1, that it begins in; comments after it belong to it.
pub(super) fn split(sql: &str) -> Vec<(usize, &str)> {
    let starts = starts(sql);
    let ends = starts.iter().skip(1).copied().chain([sql.len()]);
    let line = |at: usize| 1 + sql[..at].matches('\n').count();
    starts.iter().zip(ends).map(|(&start, end)| (line(start), sql[start..end].trim_end())).collect()
}

fn leads_to_savepoint(rest: &str) -> bool {
    let first = leading_word(rest);
    let next = match first.to_ascii_uppercase().as_str() {
        "WORK" | "TRANSACTION" => leading_word(rest[first.len()..].trim_start()),
        _ => first,
    };
    next.eq_ignore_ascii_case("to")
}

/// Returns the word that the text begins with; `$` is part of a word, but never its first character.
fn leading_word(text: &str) -> &str {
    let end = text
        .char_indices()
        .find(|(at, c)| !(c.is_alphanumeric() || *c == '_' || (*c == '$' && *at > 0)))
        .map_or(text.len(), |(at, _)| at);
    &text[..end]
}

/// Returns where each statement begins. `BEGIN ATOMIC .. END` bodies count as one statement.
fn starts(sql: &str) -> Vec<usize> {
    let bytes = sql.as_bytes();
    let mut starts = Vec::new();
    let mut at = 0;
    let mut inside = false;
    let mut atomic = 0_usize;
    while at < bytes.len() {
        let rest = &sql[at..];
        let skipped = skip_comment(rest);
        if skipped > 0 {
            at += skipped;
            continue;
        }
        let c = bytes[at];
        if c.is_ascii_whitespace() {
            at += 1;
            continue;
        }
        if c == b';' {
            inside = inside && atomic > 0;
            at += 1;
            continue;
        }
        let is_first = !inside;
        if is_first {
            starts.push(at);
            inside = true;
        }
        let quoted = skip_quoted(rest);
        if quoted > 0 {
            at += quoted;
            continue;
        }
        let word = leading_word(rest);
        if word.is_empty() {
            at += rest.chars().next().map_or(1, char::len_utf8);
            continue;
        }
        at += word.len();
        let upper = word.to_ascii_uppercase();
        if upper == "BEGIN"
            && !is_first
            && leading_word(sql[at..].trim_start()).eq_ignore_ascii_case("atomic")
        {
            atomic = 1;
        } else if atomic > 0 && upper == "CASE" {
            atomic += 1;
        } else if atomic > 0 && upper == "END" {
            atomic -= 1;
        }
        // `E'..'` has escapes of its own, and `U&'..'` none that matter here.
        if upper == "E" && sql[at..].starts_with('\'') {
            at += skip_until_quote(&sql[at..], '\'', Backslash::Escapes);
        }
    }
    starts
}

/// Returns the length of the comment that the text begins with; block comments nest.
fn skip_comment(text: &str) -> usize {
    if text.starts_with("--") {
        return text.find('\n').map_or(text.len(), |end| end + 1);
    }
    if !text.starts_with("/*") {
        return 0;
    }
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// Returns the length of the string, name or dollar-quoted body that the text begins with.
fn skip_quoted(text: &str) -> usize {
    match text.as_bytes()[0] {
        b'\'' => skip_until_quote(text, '\'', Backslash::IsText),
        b'"' => skip_until_quote(text, '"', Backslash::IsText),
        b'$' => {
            let Some(end) = text[1..].find('$') else { return 0 };
            let tag = &text[..end + 2];
            let name = &tag[1..tag.len() - 1];
            let is_tag = name.chars().all(|c| c.is_alphanumeric() || c == '_')
                && !name.starts_with(|c: char| c.is_ascii_digit());
            if !is_tag {
                return 0;
            }
            text[tag.len()..].find(tag).map_or(text.len(), |close| close + 2 * tag.len())
        }
        _ => 0,
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Backslash {
    Escapes,
    IsText,
}

/// Returns the length up to the closing quote; a doubled one does not close, it opens the next piece.
fn skip_until_quote(text: &str, quote: char, backslash: Backslash) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if c == '\\' && backslash == Backslash::Escapes {
            escaped = true;
        } else if c == quote {
            return at + c.len_utf8();
        }
    }
    text.len()
}
