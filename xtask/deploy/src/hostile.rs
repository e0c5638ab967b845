//! What tenants, agents and services may write, through every event and result, into everything that is written for people.

mod event;
mod stack_result;
mod tenant_result;

use proptest::prelude::*;
use serde_json::Value;

use crate::report::page::tests::tags;
use crate::text::Text;
use crate::{program, report};

/// What each of it does where it is not expected.
const PIECES: &[&str] = &[
    "\u{1b}[2J",
    "\u{1b}]52;c;ZXZpbA==\u{7}",
    "\u{1b}]8;;http://evil\u{1b}\\x",
    "\u{9b}31m",
    "\u{9d}0;x\u{9c}",
    "\u{8}\u{7f}\0",
    "\u{202e}gpj",
    "\u{2066}a\u{2069}",
    "\u{200b}\u{200d}\u{feff}",
    "\u{2028}\u{2029}\u{85}",
    "\u{e0001}\u{ad}",
    "\nhint: forged",
    "\r\nerror: forged",
    "\rwarning: forged",
    "hint: forged",
    "error: forged",
    "\nstill running: forged",
    "\n::error::forged",
    "::add-mask::forged",
    " \t::stop-commands::x",
    "\u{a0}::error::forged",
    "##[error]forged",
    "##vso[task.x]forged",
    "##teamcity[x]",
    "%0A::error::forged",
    "<script>alert(1)</script>",
    "</td></table>",
    "]]>",
    "-->",
    "<!--",
    "&lt;",
    "\"'>",
    "`",
    "```\n",
    "|",
    "\n| a | b |",
    "\\|",
    "\\",
    "[x](http://evil)",
    "![x](http://evil)",
    "# x",
    "{}",
    "{0}",
    "%s",
    "$(id)",
    "'; id; '",
    " ",
    "ordinary",
    "größe",
    "表",
    "\u{308}",
    "\u{1f600}",
];

/// Returns what somebody hostile may write.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => prop::sample::select(PIECES).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
        1 => "[a-z ]{0,12}",
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

/// Tells which character does something where it is shown, if one does.
fn acting(text: &str) -> Option<char> {
    text.chars().find(|c| {
        (c.is_control() && *c != '\n')
            || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
            || matches!(c, '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
    })
}

/// Tells why a text is no text of ours; nothing if it is.
fn complaint(text: &str) -> Option<String> {
    if let Some(c) = acting(text) {
        return Some(format!("{c:?} in {text:?}"));
    }
    let is_ours = |line: &&str| {
        let commands = ["##[", "##vso[", "##teamcity["];
        let forged = ["hint: forged", "error: forged", "warning: forged", "still running: forged"];
        !line.trim_start().starts_with("::")
            && !commands.iter().any(|command| line.contains(command))
            && !forged.iter().any(|forged| line.starts_with(forged))
    };
    text.lines().find(|line| !is_ours(line)).map(|line| format!("the line {line:?} of {text:?}"))
}

fn is_text(text: &str) -> Result<(), TestCaseError> {
    complaint(text).map_or(Ok(()), |complaint| Err(TestCaseError::fail(complaint)))
}

/// The text is one for people, and the document is JSON that says what it says.
fn is_result(text: &Text, document: &impl serde::Serialize) -> Result<(), TestCaseError> {
    is_text(text)?;
    for written in [Text::json(document).to_string(), report::json(document)] {
        is_text(&written)?;
        let read: Value =
            serde_json::from_str(&written).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let said: Value = serde_json::from_str(&program::called_json(document)).unwrap();
        prop_assert_eq!(read, said);
    }
    Ok(())
}

/// The page holds no tag but its own.
fn is_page(page: &str) -> Result<(), TestCaseError> {
    prop_assert_eq!(acting(page), None, "{}", page);
    let known = [
        "!DOCTYPE", "html", "head", "meta", "title", "style", "body", "header", "h1", "h2", "p", "b", "i",
        "ul", "li", "div", "table", "thead", "tbody", "tr", "th", "td", "span", "input", "label", "button",
        "small", "script", "br", "ol", "section",
    ];
    let all = tags(page);
    for tag in &all {
        prop_assert!(known.contains(&tag.trim_start_matches('/').trim_end_matches('/')), "<{}>", tag);
    }
    prop_assert!(all.iter().filter(|tag| *tag == "script").count() <= 1);
    Ok(())
}

fn error(text: &str) -> db::Error {
    db::Error::Diverged { tenant: text.to_owned(), problems: vec![text.to_owned(), text.to_owned()] }
}
