//! ALTER TABLE, one action after the other, and ALTER TYPE.

use super::super::token::Kind;
use super::phrase::{Name, Phrase};
use super::report::Report;
use super::rule::{self, Rule};
use super::set::State;

/// Functions with another value in each row; of those that users write nothing is known.
const VOLATILE: [&str; 14] = [
    "clock_timestamp",
    "gen_random_bytes",
    "gen_random_uuid",
    "gen_salt",
    "nextval",
    "random",
    "random_normal",
    "timeofday",
    "uuid_generate_v1",
    "uuid_generate_v1mc",
    "uuid_generate_v4",
    "uuidv4",
    "uuidv7",
    "setval",
];

const SERIAL: [&str; 6] = ["bigserial", "serial", "serial2", "serial4", "serial8", "smallserial"];

/// Checks what follows ALTER TABLE.
pub(super) fn table(mut phrase: Phrase<'_>, state: &mut State, report: &mut Report<'_>) {
    phrase.take("IF EXISTS");
    phrase.take("ONLY");
    let Some(table) = phrase.name() else { return };
    phrase.take("*");
    if state.is_fresh(&table) {
        if phrase.take("RENAME TO") {
            phrase.ident().into_iter().for_each(|name| state.create(table.renamed(name)));
        }
        return;
    }
    for action in phrase.split() {
        let Some(at) = action.at() else { continue };
        for rule in check_action(action, &table, state) {
            report.find(rule, at);
        }
    }
}

/// Checks what follows ALTER TYPE: only a new value matters, to whoever uses it too soon.
pub(super) fn enumeration(mut phrase: Phrase<'_>, state: &mut State) {
    if phrase.name().is_none() || !phrase.take("ADD VALUE") {
        return;
    }
    phrase.take("IF NOT EXISTS");
    if let Some(value) = phrase.tokens().first().filter(|token| token.kind == Kind::Text) {
        state.add_enum_value(value.text);
    }
}

fn check_action(mut action: Phrase<'_>, table: &Name, state: &mut State) -> Vec<&'static Rule> {
    if action.take("ADD") {
        return add(action, table, state);
    }
    if action.take("ALTER") {
        action.take("COLUMN");
        action.ident();
        let changes_type = action.take("TYPE") || action.take("SET DATA TYPE");
        return match (changes_type, action.begins_with("SET NOT NULL")) {
            (true, _) => vec![rule::ALTER_COLUMN_TYPE],
            (false, true) => vec![rule::SET_NOT_NULL],
            (false, false) => vec![],
        };
    }
    if action.take("DROP") {
        return if action.begins_with("CONSTRAINT") { vec![] } else { vec![rule::DROP_COLUMN] };
    }
    if action.take("RENAME") {
        return match (action.begins_with("CONSTRAINT"), action.begins_with("TO")) {
            (true, _) => vec![],
            (false, true) => vec![rule::RENAME_TABLE],
            (false, false) => vec![rule::RENAME_COLUMN],
        };
    }
    if action.take("VALIDATE CONSTRAINT") {
        let name = action.ident();
        let is_too_soon = name.is_some_and(|name| state.is_not_valid(table, &name));
        return if is_too_soon { vec![rule::VALIDATE_WITH_ADD] } else { vec![] };
    }
    if action.take("SET SCHEMA") {
        return vec![rule::RENAME_TABLE];
    }
    let rewrites = ["SET TABLESPACE", "SET LOGGED", "SET UNLOGGED", "SET ACCESS METHOD"];
    if rewrites.iter().any(|words| action.begins_with(words)) { vec![rule::REWRITE_TABLE] } else { vec![] }
}

fn add(mut action: Phrase<'_>, table: &Name, state: &mut State) -> Vec<&'static Rule> {
    let name = if action.take("CONSTRAINT") { action.ident() } else { None };
    let is_valid = !action.has("NOT VALID");
    let rule = if action.begins_with("FOREIGN KEY") {
        rule::ADD_FOREIGN_KEY
    } else if action.begins_with("CHECK") {
        rule::ADD_CHECK
    } else if action.begins_with("NOT NULL") {
        rule::SET_NOT_NULL
    } else if ["UNIQUE", "PRIMARY KEY", "EXCLUDE USING", "EXCLUDE ("]
        .iter()
        .any(|words| action.begins_with(words))
    {
        return if action.has("USING INDEX") && !action.begins_with("EXCLUDE") {
            vec![]
        } else {
            vec![rule::ADD_UNIQUE]
        };
    } else {
        return add_column(action);
    };
    if is_valid {
        return vec![rule];
    }
    name.into_iter().for_each(|name| state.add_not_valid(table, name));
    vec![]
}

fn add_column(mut action: Phrase<'_>) -> Vec<&'static Rule> {
    action.take("COLUMN");
    action.take("IF NOT EXISTS");
    action.ident();
    let is_serial = SERIAL.iter().any(|name| action.begins_with(name));
    let is_identity = action.has("AS IDENTITY");
    let is_stored = action.has("STORED");
    let default = action.after("DEFAULT");
    let is_given = default.is_some_and(|value| !value.begins_with("NULL"));
    let is_volatile = default.is_some_and(|value| {
        value.tokens().windows(2).any(|pair| {
            pair[1].text == "("
                && VOLATILE.contains(&pair[0].text.trim_matches('"').to_ascii_lowercase().as_str())
        })
    });
    let fills_itself = is_given || is_serial || is_identity || action.has("GENERATED");

    let mut rules = Vec::new();
    if action.has("NOT NULL") && !fills_itself {
        rules.push(rule::ADD_COLUMN_NOT_NULL);
    }
    if is_serial || is_identity || is_stored || is_volatile {
        rules.push(rule::ADD_COLUMN_VOLATILE_DEFAULT);
    }
    if action.has("UNIQUE") || action.has("PRIMARY KEY") {
        rules.push(rule::ADD_UNIQUE);
    }
    if action.has("CHECK") {
        rules.push(rule::ADD_CHECK);
    }
    // Where every value is null there is nothing to look up.
    if action.has("REFERENCES") && is_given {
        rules.push(rule::ADD_FOREIGN_KEY);
    }
    rules
}
