//! What others wrote, made harmless for each place that it is shown in: a line of text, markup, a cell of Markdown, JSON.
//!
//! "Others" are tenants, agents, services and whoever may set a tag: a name may hold an escape sequence that writes the
//! clipboard, a line that looks like ours, or a command of a CI's log.

use std::fmt::Write as _;

/// A line of more bytes is cut: nobody reads it, and a log may not keep it.
const LONGEST_LINE: usize = 32 << 10;

/// Returns a text as one line: what moves the cursor, hides or turns text round is shown as `\n`, `\u{1b}`, `\u{202e}`; what a
/// CI would take for a command is broken up. Twice is once.
pub(crate) fn line(text: &str) -> String {
    let (kept, rest) = cut(text, LONGEST_LINE);
    let mut line = String::with_capacity(kept.len() + 32);
    kept.chars().for_each(|c| push(&mut line, c));
    disarm(&mut line);
    if rest > 0 {
        let _ = write!(line, " .. and {rest} more bytes");
    }
    line
}

/// Returns a text as it may stand between tags or in a quoted attribute, in HTML and in XML.
pub(crate) fn markup(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' => escaped.push(c),
            _ => push(&mut escaped, c),
        }
    }
    escaped
}

/// Returns a text as it may stand in a cell of a Markdown table, or in a sentence: on one line, and no markup of any kind.
pub(crate) fn markdown(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in line(text).chars() {
        match c {
            // Each of these begins or ends something in GitHub's dialect; a name with `_` or `-` in it stays readable.
            '&' | '<' | '>' | '"' | '\'' | '|' | '`' | '*' | '[' | ']' | '(' | ')' | '!' | '#' | '~'
            | '$' | '\\' | '@' => {
                let _ = write!(escaped, "&#{};", u32::from(c));
            }
            // No link is made of what looks like an address.
            ':' => escaped.push_str("&#58;"),
            _ => escaped.push(c),
        }
    }
    escaped
}

/// Returns a JSON text with the same meaning that holds nothing that a terminal or a CI acts on.
pub(crate) fn json(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut last = ' ';
    for c in text.chars() {
        // Outside of a string JSON has no such characters, but for the ends of lines.
        if c == '\n' || (is_plain(c) && !(c == '#' && last == '#')) {
            escaped.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        }
        last = c;
    }
    escaped
}

/// Returns as much of a text as has room, and how many bytes are left out.
pub(crate) fn cut(text: &str, bytes: usize) -> (&str, usize) {
    let end = text.floor_char_boundary(bytes);
    (&text[..end], text.len() - end)
}

/// How the lines begin that a reader believes, and may do what they say.
const OURS: [&str; 7] = ["hint:", "error:", "warning:", "caused by:", "still running:", "next:", "mend it:"];

/// Tells whether somebody else's words would begin a line like one that we alone write.
pub(crate) fn looks_like_ours(line: &str) -> bool {
    let line = line.trim_start();
    OURS.iter().any(|word| line.get(..word.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(word)))
}

fn push(escaped: &mut String, c: char) {
    match c {
        _ if is_plain(c) => escaped.push(c),
        '\n' => escaped.push_str("\\n"),
        '\r' => escaped.push_str("\\r"),
        '\t' => escaped.push_str("\\t"),
        '\0' => escaped.push_str("\\0"),
        _ => escaped.extend(c.escape_unicode()),
    }
}

/// Tells whether a character is seen where it stands, and does nothing else.
fn is_plain(c: char) -> bool {
    match c {
        ' '..='~' => true,
        // Letters that are blank, and what only joins or selects.
        '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{2800}' | '\u{3164}'
        | '\u{ffa0}' => false,
        // An accent of its own, as file names on macOS have.
        '\u{300}'..='\u{36f}' => true,
        c => c.is_alphanumeric() || c.escape_debug().count() == 1,
    }
}

/// Breaks up what a CI's log takes for a command: `::name::` at the start of a line (GitHub, which skips blanks before it),
/// `##[name]`, `##vso[..]`, `##teamcity[..]` anywhere.
fn disarm(line: &mut String) {
    let blanks = line.len() - line.trim_start_matches(' ').len();
    if line[blanks..].starts_with("::") {
        line.replace_range(blanks..=blanks, "\\u{3a}");
    }
    if line.contains("##") {
        let mut disarmed = String::with_capacity(line.len());
        let mut rest = line.as_str();
        while let Some(at) = rest.find("##") {
            let (before, after) = rest.split_at(at + 1);
            disarmed.push_str(before);
            let word = after[1..].trim_start_matches(|c: char| c.is_ascii_alphanumeric());
            if word.starts_with('[') {
                disarmed.push_str("\\u{23}");
                rest = &after[1..];
            } else {
                rest = after;
            }
        }
        disarmed.push_str(rest);
        *line = disarmed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_and_does_nothing() {
        assert_eq!(line("a\nhint: b\r\t\0"), "a\\nhint: b\\r\\t\\0");
        assert_eq!(line("\u{1b}]52;c;eA==\u{7}\u{9b}2J"), "\\u{1b}]52;c;eA==\\u{7}\\u{9b}2J");
        assert_eq!(
            line("a\u{202e}b\u{2066}c\u{200b}d\u{feff}\u{2028}"),
            "a\\u{202e}b\\u{2066}c\\u{200b}d\\u{feff}\\u{2028}"
        );
        assert_eq!(line("Größe größe 表 it's \"a\\b\" ⠋"), "Größe größe 表 it's \"a\\b\" ⠋");
        assert_eq!(line("  ::error::x"), "  \\u{3a}:error::x");
        assert_eq!(line("a ##[error]b ## c ##vso[x]"), "a #\\u{23}[error]b ## c #\\u{23}vso[x]");
        assert_eq!(line("###[x]"), "##\\u{23}[x]");
        assert_eq!(line("\u{3164}"), "\\u{3164}");
    }

    #[test]
    fn what_is_too_long_is_cut_and_says_so() {
        let long = line(&"é".repeat(1 << 20));
        assert!(long.len() < LONGEST_LINE + 100, "{}", long.len());
        assert!(long.ends_with(" .. and 2064384 more bytes"), "{}", &long[long.len() - 40..]);
    }

    #[test]
    fn markup_and_what_hides_text_are_escaped() {
        assert_eq!(markup("<b a=\"1\">'&'</b>"), "&lt;b a=&quot;1&quot;&gt;&#39;&amp;&#39;&lt;/b&gt;");
        assert_eq!(markup("a\u{1b}[2J\0\u{202e}b\r\nü\\"), "a\\u{1b}[2J\\0\\u{202e}b\\r\nü\\");
        assert_eq!(markup("\u{fffe}\u{ffff}"), "\\u{fffe}\\u{ffff}");
    }

    #[test]
    fn json_means_the_same() {
        let text = "\u{9b}2J \u{7f} \u{202e} \u{1f600} \u{e0001} ##[error] a\nb";
        let escaped = json(&serde_json::to_string(text).unwrap());
        assert!(escaped.is_ascii() || escaped.contains('\u{1f600}'), "{escaped}");
        assert!(!escaped.contains("##["), "{escaped}");
        assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), text);
    }
}
