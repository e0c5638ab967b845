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

/// Returns the line of the first statement that no migration can have, and why.
pub(super) fn find_refused(sql: &str) -> Option<(usize, String)> {
    statements(sql).into_iter().find_map(|statement| {
        let reason = leaves_transaction(&statement).or_else(|| speaks_with_client(&statement))?;
        Some((line_of(sql, statement.at()), reason))
    })
}

/// Returns why a statement cannot be there that would leave the transaction.
fn leaves_transaction(statement: &Statement<'_>) -> Option<String> {
    let word = |at: usize| statement.tokens.get(at).map(|token| token.text.to_ascii_uppercase());
    let second = word(1).unwrap_or_default();
    let leaves = match word(0).unwrap_or_default().as_str() {
        "BEGIN" | "COMMIT" | "END" | "ABORT" => true,
        "START" | "PREPARE" => second == "TRANSACTION",
        // `ROLLBACK TO` a savepoint stays inside.
        "ROLLBACK" => match second.as_str() {
            "WORK" | "TRANSACTION" => word(2).unwrap_or_default() != "TO",
            _ => second != "TO",
        },
        _ => false,
    };
    leaves.then(|| {
        let word = statement.tokens[0].text;
        format!("`{word}` would end the transaction that the migration and its row of history share")
    })
}

/// Returns why a `COPY` cannot be there whose other side is the client: the server would wait for rows, or send some, in
/// the middle of all that it was sent.
fn speaks_with_client(statement: &Statement<'_>) -> Option<String> {
    if !statement.tokens.first()?.is("copy") {
        return None;
    }
    let mut depth = 0_usize;
    for (token, next) in statement.tokens.iter().zip(&statement.tokens[1..]) {
        depth = deeper(depth, token);
        // The grammar takes either word after either word.
        if depth > 0 || !(next.is("stdin") || next.is("stdout")) {
            continue;
        }
        if token.is("from") {
            return Some(
                "`COPY .. FROM STDIN` waits for rows that only a client such as psql sends; write INSERT, or load \
                 the file by `cargo xtask psql TENANT -- -f FILE`"
                    .to_owned(),
            );
        }
        if token.is("to") {
            return Some(
                "`COPY .. TO STDOUT` sends rows to the client, and nobody reads them; leave it out, or ask for them \
                 by `cargo xtask psql TENANT -- -c 'COPY ..'`"
                    .to_owned(),
            );
        }
    }
    None
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
    let (mut line, mut counted) = (1, 0);
    let text = |one: &Statement<'_>| {
        line += sql[counted..one.at()].matches('\n').count();
        counted = one.at();
        (line, &sql[one.at()..one.end()])
    };
    statements(sql).iter().map(text).collect()
}

/// Returns every statement, ended where PostgreSQL ends it: at a semicolon outside of parentheses, as `CREATE RULE` may hold
/// some inside, and outside of a function's `BEGIN ATOMIC .. END`.
pub(super) fn statements(sql: &str) -> Vec<Statement<'_>> {
    let mut statements = Vec::new();
    let mut current: Vec<Token<'_>> = Vec::new();
    let (mut parens, mut body) = (0_usize, 0_usize);
    for token in tokens(sql) {
        if token.kind == Kind::Comment {
            continue;
        }
        if token.text == ";" && parens == 0 && body == 0 {
            if !current.is_empty() {
                statements.push(Statement { tokens: std::mem::take(&mut current) });
            }
            continue;
        }
        parens = deeper(parens, &token);
        // `CASE .. END` in parentheses is as even as they are.
        if parens == 0 {
            body = deeper_in_body(body, &current, &token);
        }
        current.push(token);
    }
    if !current.is_empty() {
        statements.push(Statement { tokens: current });
    }
    statements
}

fn deeper(parens: usize, token: &Token<'_>) -> usize {
    match token.text {
        "(" => parens + 1,
        ")" => parens.saturating_sub(1),
        _ => parens,
    }
}

/// Returns how many `END` are to come after a token of a routine's body; outside of one there are none.
fn deeper_in_body(depth: usize, before: &[Token<'_>], token: &Token<'_>) -> usize {
    let Some(last) = before.last() else { return 0 };
    if depth == 0 {
        let begins = token.is("atomic") && last.is("begin") && creates_routine(before);
        return usize::from(begins);
    }
    // A column may be called so: `AS "end"` without its quotes, `t.case`. After `1.` it is none.
    let is_of_number = |token: &Token<'_>| token.text.starts_with(|c: char| c.is_ascii_digit());
    let is_field = last.text == "." && !before.iter().rev().nth(1).is_some_and(is_of_number);
    if last.is("as") || is_field {
        return depth;
    }
    match () {
        () if token.is("case") => depth + 1,
        () if token.is("end") => depth - 1,
        () => depth,
    }
}

fn creates_routine(statement: &[Token<'_>]) -> bool {
    let mut words = statement.iter();
    let mut next = words.next().filter(|token| token.is("create")).and_then(|_| words.next());
    if next.is_some_and(|token| token.is("or")) && words.next().is_some_and(|token| token.is("replace")) {
        next = words.next();
    }
    next.is_some_and(|token| token.is("function") || token.is("procedure"))
}
