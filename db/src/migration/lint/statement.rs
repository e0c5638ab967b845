//! One statement after the other.

use super::super::statement::{Statement, statements};
use super::super::token::{Kind, Token};
use super::alter;
use super::comment;
use super::phrase::Phrase;
use super::report::{Finding, Report};
use super::rule;
use super::set::State;
use crate::Migration;
use crate::migration::Mode;

/// Returns what is wrong with one file, and tells `state` what it does.
pub(super) fn check(migration: &Migration, state: &mut State) -> Vec<Finding> {
    let statements = statements(migration.sql());
    let mut comments = comment::parse(migration.sql(), &statements);
    let idle = std::mem::take(&mut comments.idle);
    let mut report = Report::new(migration, comments);
    for at in idle {
        report.find(rule::BAD_COMMENT, at);
    }
    match migration.mode() {
        Mode::Grouped => state.join(),
        Mode::OwnTransaction | Mode::NoTransaction => state.begin(),
    }
    for (place, statement) in statements.iter().enumerate() {
        report.begin(place);
        if migration.mode() == Mode::NoTransaction {
            state.begin();
            if place > 0 {
                report.find(rule::SEVERAL_STATEMENTS, statement.at());
            }
        } else if needs_no_transaction(Phrase::new(&statement.tokens)) {
            report.find(rule::OUTSIDE_TRANSACTION, statement.at());
        }
        check_one(statement, state, &mut report);
    }
    if migration.mode() != Mode::Grouped {
        state.begin();
    }
    report.finish()
}

fn check_one(statement: &Statement<'_>, state: &mut State, report: &mut Report<'_>) {
    let at = statement.at();
    check_literals(&statement.tokens, state, report);
    if sets_for_session(&statement.tokens) {
        report.find(rule::SESSION_SETTING, at);
    }
    let mut phrase = Phrase::new(&statement.tokens);
    if phrase.take("CREATE") {
        create(phrase, at, state, report);
    } else if phrase.take("ALTER TABLE") || phrase.take("ALTER FOREIGN TABLE") {
        alter::table(phrase, state, report);
    } else if phrase.take("ALTER TYPE") {
        alter::enumeration(phrase, state);
    } else if phrase.take("DROP") {
        destroy(phrase, at, state, report);
    } else if phrase.take("TRUNCATE") {
        phrase.take("TABLE");
        if !all_fresh(phrase, state) {
            report.find(rule::TRUNCATE, at);
        }
    } else if phrase.take("REINDEX") {
        let is_online = phrase.tokens().iter().any(|token| token.is("concurrently"));
        let name = phrase.after("INDEX").or_else(|| phrase.after("TABLE")).and_then(|mut rest| rest.name());
        if !is_online && !name.is_some_and(|name| state.is_fresh(&name)) {
            report.find(rule::REINDEX, at);
        }
    } else if phrase.take("LOCK") {
        report.find(rule::LOCK_TABLE, at);
    } else if phrase.begins_with("CLUSTER")
        || phrase.take("VACUUM") && phrase.tokens().iter().any(|token| token.is("full"))
    {
        report.find(rule::REWRITE_TABLE, at);
    }
}

fn create(mut phrase: Phrase<'_>, at: usize, state: &mut State, report: &mut Report<'_>) {
    while phrase.take_any(&["OR", "REPLACE", "GLOBAL", "LOCAL", "TEMP", "TEMPORARY", "UNLOGGED", "UNIQUE"]) {}
    if phrase.take("INDEX") {
        let is_online = phrase.take("CONCURRENTLY");
        phrase.take("IF NOT EXISTS");
        let index = if phrase.begins_with("ON") { None } else { phrase.name() };
        let table = phrase.after("ON").and_then(|mut rest| {
            rest.take("ONLY");
            rest.name()
        });
        match table {
            Some(table) if state.is_fresh(&table) => index.into_iter().for_each(|name| state.create(name)),
            _ if is_online => {}
            _ => report.find(rule::CREATE_INDEX, at),
        }
    } else if phrase.take_any(&["TABLE", "FOREIGN TABLE", "MATERIALIZED VIEW"]) {
        phrase.take("IF NOT EXISTS");
        phrase.name().into_iter().for_each(|name| state.create(name));
    }
}

fn destroy(mut phrase: Phrase<'_>, at: usize, state: &State, report: &mut Report<'_>) {
    if phrase.take("INDEX") {
        let is_online = phrase.take("CONCURRENTLY");
        phrase.take("IF EXISTS");
        if !is_online && !all_fresh(phrase, state) {
            report.find(rule::DROP_INDEX, at);
        }
    } else if phrase.take("TABLE") || phrase.take("FOREIGN TABLE") {
        phrase.take("IF EXISTS");
        if !all_fresh(phrase, state) {
            report.find(rule::DROP_TABLE, at);
        }
    } else if phrase.take_any(&["DATABASE", "OWNED"]) || phrase.take("SCHEMA") && phrase.has("CASCADE") {
        report.find(rule::DROP_TABLE, at);
    }
}

/// Returns whether every name of the list was created by this set.
fn all_fresh(names: Phrase<'_>, state: &State) -> bool {
    names.split().into_iter().all(|mut one| {
        one.take("ONLY");
        one.name().is_some_and(|name| state.is_fresh(&name))
    })
}

/// Returns whether PostgreSQL refuses the statement inside of a transaction.
fn needs_no_transaction(mut phrase: Phrase<'_>) -> bool {
    let all = phrase;
    let has = |word: &str| all.tokens().iter().any(|token| token.is(word));
    if phrase.take("CREATE") {
        phrase.take("UNIQUE");
        let makes_slot = !has("create_slot") && !has("connect");
        return phrase.begins_with("INDEX CONCURRENTLY")
            || phrase.take_any(&["DATABASE", "TABLESPACE"])
            || phrase.take("SUBSCRIPTION") && makes_slot;
    }
    if phrase.take("DROP") {
        return phrase.begins_with("INDEX CONCURRENTLY")
            || phrase.take_any(&["DATABASE", "TABLESPACE", "SUBSCRIPTION"]);
    }
    if phrase.take("REINDEX") {
        return has("concurrently") || phrase.has("SCHEMA") || phrase.has("DATABASE") || phrase.has("SYSTEM");
    }
    if phrase.take("ALTER") {
        return phrase.take("SYSTEM")
            || phrase.take("DATABASE") && phrase.has("SET TABLESPACE")
            || phrase.take("TABLE") && phrase.has("DETACH PARTITION") && has("concurrently");
    }
    let is_whole_cluster = phrase.take("CLUSTER") && phrase.at().is_none();
    is_whole_cluster || phrase.take("VACUUM") || phrase.take("DISCARD ALL")
}

/// Finds values of an enumeration that the same transaction added.
fn check_literals(tokens: &[Token<'_>], state: &State, report: &mut Report<'_>) {
    let used = tokens.iter().find(|token| token.kind == Kind::Text && state.is_new_enum_value(token.text));
    if let Some(token) = used {
        report.find(rule::ENUM_VALUE_IN_USE, token.at);
    }
}

/// Returns whether a statement sets, for longer than its transaction, what later migrations depend on.
fn sets_for_session(tokens: &[Token<'_>]) -> bool {
    let leaks = |name: &str| {
        matches!(name, "role" | "search_path" | "schema" | "authorization" | "session_authorization")
            || name.ends_with("_timeout")
    };
    let mut phrase = Phrase::new(tokens);
    if phrase.take("SET") {
        phrase.take("SESSION");
        return phrase.ident().is_some_and(|name| leaks(&name));
    }
    // `SELECT pg_catalog.set_config('search_path', '', false)`, as pg_dump writes it.
    tokens.iter().enumerate().filter(|(_, token)| token.is("set_config")).any(|(at, _)| {
        let mut call = Phrase::new(&tokens[at + 1..]);
        let is_call = call.take("(");
        let arguments: Vec<Phrase<'_>> = call.split().into_iter().take(3).collect();
        let [name, _, is_local] = arguments.as_slice() else { return false };
        let name = name.tokens().first().map_or("", |token| token.text).trim_matches('\'');
        is_call && leaks(&name.to_ascii_lowercase()) && !is_local.begins_with("true")
    })
}
