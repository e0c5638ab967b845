//! Where statements begin and end.

use super::token::{Kind, Token, tokens};

/// One statement, without its semicolon and without comments.
#[derive(Debug)]
pub(super) struct Statement<'a> {
    pub(super) tokens: Vec<Token<'a>>,
}

impl Statement<'_> {
    /// Returns the byte that it begins at.
    pub(super) fn at(&self) -> usize {
        self.tokens.first().map_or(0, |token| token.at)
    }

    /// Returns the byte after its last token.
    pub(super) fn end(&self) -> usize {
        self.tokens.last().map_or(0, Token::end)
    }
}

/// Returns the line and the first word of the first statement that would leave the transaction.
pub(super) fn find_transaction_control(sql: &str) -> Option<(usize, &str)> {
    statements(sql).into_iter().find_map(|statement| {
        let word = |at: usize| statement.tokens.get(at).map(|token| token.text.to_ascii_uppercase());
        let second = word(1).unwrap_or_default();
        let ends = match word(0).unwrap_or_default().as_str() {
            "BEGIN" | "COMMIT" | "END" | "ABORT" => true,
            "START" | "PREPARE" => second == "TRANSACTION",
            // `ROLLBACK TO` a savepoint stays inside.
            "ROLLBACK" => match second.as_str() {
                "WORK" | "TRANSACTION" => word(2).unwrap_or_default() != "TO",
                _ => second != "TO",
            },
            _ => false,
        };
        ends.then(|| (line_of(sql, statement.at()), statement.tokens[0].text))
    })
}

/// Returns whether there is nothing but comments, white space and semicolons.
pub(super) fn is_blank(sql: &str) -> bool {
    statements(sql).is_empty()
}

/// Returns whether what follows the text is a statement of its own, and no part of it.
pub(super) fn is_complete(sql: &str) -> bool {
    let longer = format!("{sql}\n;x");
    statements(&longer).last().is_some_and(|last| last.at() == longer.len() - 1)
}

/// Returns the line, counted from 1, of a byte.
pub(super) fn line_of(sql: &str, at: usize) -> usize {
    1 + sql[..at].matches('\n').count()
}

/// Returns each statement's text, without its semicolon, with the line, counted from 1, that it begins in.
pub(super) fn split(sql: &str) -> Vec<(usize, &str)> {
    let text = |one: &Statement<'_>| (line_of(sql, one.at()), &sql[one.at()..one.end()]);
    statements(sql).iter().map(text).collect()
}

/// Returns every statement. `BEGIN ATOMIC .. END` bodies belong to the statement around them.
pub(super) fn statements(sql: &str) -> Vec<Statement<'_>> {
    let mut statements = Vec::new();
    let mut current: Vec<Token<'_>> = Vec::new();
    let mut atomic = 0_usize;
    for token in tokens(sql) {
        if token.kind == Kind::Comment {
            continue;
        }
        if token.text == ";" && atomic == 0 {
            if !current.is_empty() {
                statements.push(Statement { tokens: std::mem::take(&mut current) });
            }
            continue;
        }
        // The first token is a statement's own: `BEGIN` there begins a transaction, `ATOMIC` follows it inside only.
        let begins_body = token.is("atomic") && current.len() > 1 && current.last().is_some_and(is_begin);
        if begins_body {
            atomic = 1;
        } else if atomic > 0 && token.is("case") {
            atomic += 1;
        } else if atomic > 0 && token.is("end") {
            atomic -= 1;
        }
        current.push(token);
    }
    if !current.is_empty() {
        statements.push(Statement { tokens: current });
    }
    statements
}

fn is_begin(token: &Token<'_>) -> bool {
    token.is("begin")
}
