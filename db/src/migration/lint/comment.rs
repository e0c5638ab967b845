//! `-- drawbridge: allow <rule>`: exemptions, which are the author's word that a statement is meant.

use super::super::statement::Statement;
use super::super::token::{Kind, tokens};
use super::rule::RULES;

/// What the comments of a file say.
#[derive(Debug, Default)]
pub(super) struct Comments {
    /// The statement's place in the file, and the rule that it is exempt from.
    allowed: Vec<(usize, &'static str)>,
    /// Where a comment stands that does nothing.
    pub(super) idle: Vec<usize>,
}

impl Comments {
    pub(super) fn allow(&self, statement: usize, rule: &str) -> bool {
        self.allowed.iter().any(|(place, id)| *place == statement && *id == rule)
    }
}

/// Returns what the comments of a file say to the statements after them.
pub(super) fn parse(sql: &str, statements: &[Statement<'_>]) -> Comments {
    let mut comments = Comments::default();
    for token in tokens(sql).iter().filter(|token| token.kind == Kind::Comment) {
        let Some(said) = said(token.text) else { continue };
        let line_start = sql[..token.at].rfind('\n').map_or(0, |newline| newline + 1);
        let is_alone = sql[line_start..token.at].trim().is_empty();
        let next = statements.iter().position(|statement| statement.at() > token.at);
        let is_inside = statements.iter().any(|one| one.at() < token.at && token.at < one.end());
        match (said.strip_prefix("allow").filter(|rest| rest.is_empty() || rest.starts_with(' ')), next) {
            (Some(rules), Some(next)) if is_alone && !is_inside => {
                for name in rules.split(',') {
                    match RULES.iter().find(|rule| rule.id == name.trim()) {
                        Some(rule) => comments.allowed.push((next, rule.id)),
                        None => comments.idle.push(token.at),
                    }
                }
            }
            // The marker of a transaction: what it says was checked when the file was read.
            (None, _) if line_start == 0 => {}
            _ => comments.idle.push(token.at),
        }
    }
    comments
}

/// Returns what a line comment says to us.
fn said(comment: &str) -> Option<&str> {
    comment.strip_prefix("--")?.trim().strip_prefix("drawbridge:").map(str::trim)
}
