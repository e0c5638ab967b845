use std::path::Path;

use db::Migration;
use db::migration::lint::{Finding, RULES, Severity, check};
use db::migration::{load, parse};
use proptest::prelude::*;

fn file(name: &str, sql: &str) -> Migration {
    parse(name, sql.as_bytes()).unwrap_or_else(|refused| panic!("{sql}: {refused}"))
}

fn findings(sql: &str) -> Vec<Finding> {
    check(&[file("V1__a.sql", sql)])
}

/// Returns line and rule of each finding: `2 create-index`.
fn of(sql: &str) -> Vec<String> {
    shown(&findings(sql))
}

fn shown(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(|finding| format!("{} {}", finding.line, finding.rule)).collect()
}

const NO_TRANSACTION: &str = "-- drawbridge: no-transaction\n";

/// What a statement is found to be; an empty rule for none.
const STATEMENTS: &[(&str, &str)] = &[
    ("alter-column-type", "ALTER TABLE t ALTER COLUMN a TYPE bigint"),
    ("alter-column-type", "alter table only s.t alter a set data type bigint using a::bigint"),
    ("alter-column-type", "ALTER TABLE IF EXISTS \"T\" * ALTER \"a \"\"b\" TYPE text"),
    ("", "ALTER TABLE t ALTER COLUMN a SET DEFAULT 'x TYPE'"),
    ("", "ALTER TABLE t ALTER a DROP NOT NULL"),
    ("add-column-not-null", "ALTER TABLE t ADD COLUMN a int NOT NULL"),
    ("add-column-not-null", "ALTER TABLE t ADD IF NOT EXISTS a numeric(10, 2) NOT NULL"),
    ("add-column-not-null", "ALTER TABLE t ADD a int NOT NULL DEFAULT NULL"),
    ("", "ALTER TABLE t ADD COLUMN a int NOT NULL DEFAULT 0"),
    ("", "ALTER TABLE t ADD COLUMN a int"),
    ("", "ALTER TABLE t ADD COLUMN a timestamptz NOT NULL DEFAULT now()"),
    ("", "ALTER TABLE t ADD COLUMN a timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP"),
    ("", "ALTER TABLE t ADD COLUMN a text DEFAULT 'random()'"),
    ("add-column-volatile-default", "ALTER TABLE t ADD COLUMN a uuid NOT NULL DEFAULT gen_random_uuid()"),
    ("add-column-volatile-default", "ALTER TABLE t ADD COLUMN a float DEFAULT (1 + pg_catalog.random ())"),
    ("add-column-volatile-default", "ALTER TABLE t ADD COLUMN a timestamptz DEFAULT CLOCK_TIMESTAMP()"),
    ("add-column-volatile-default", "ALTER TABLE t ADD COLUMN a bigserial"),
    ("add-column-volatile-default", "ALTER TABLE t ADD COLUMN a bigint GENERATED ALWAYS AS IDENTITY"),
    ("add-column-volatile-default", "ALTER TABLE t ADD COLUMN a int GENERATED ALWAYS AS (b * 2) STORED"),
    ("", "ALTER TABLE t ADD COLUMN a int GENERATED ALWAYS AS (b * 2) VIRTUAL"),
    ("set-not-null", "ALTER TABLE t ALTER COLUMN a SET NOT NULL"),
    ("set-not-null", "ALTER TABLE t ADD CONSTRAINT c NOT NULL a"),
    ("", "ALTER TABLE t ADD CONSTRAINT c NOT NULL a NOT VALID"),
    ("create-index", "CREATE INDEX i ON t (a)"),
    ("create-index", "CREATE UNIQUE INDEX IF NOT EXISTS i ON ONLY s.t USING btree (a) WHERE b > 0"),
    ("create-index", "CREATE INDEX ON t (a)"),
    ("drop-index", "DROP INDEX i"),
    ("drop-index", "DROP INDEX IF EXISTS s.i, j"),
    ("reindex", "REINDEX TABLE t"),
    ("reindex", "REINDEX (VERBOSE) INDEX i"),
    ("add-foreign-key", "ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u"),
    (
        "add-foreign-key",
        "ALTER TABLE t ADD CONSTRAINT c FOREIGN KEY (a) REFERENCES u (id) ON DELETE SET NULL",
    ),
    ("add-foreign-key", "ALTER TABLE t ADD COLUMN a int DEFAULT 1 REFERENCES u"),
    ("", "ALTER TABLE t ADD COLUMN a int REFERENCES u"),
    ("", "ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u NOT VALID"),
    ("add-check", "ALTER TABLE t ADD CHECK (a > 0)"),
    ("add-check", "ALTER TABLE t ADD COLUMN a int CHECK (a > 0)"),
    ("", "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID"),
    ("add-unique", "ALTER TABLE t ADD UNIQUE (a)"),
    ("add-unique", "ALTER TABLE t ADD CONSTRAINT c PRIMARY KEY (a, b)"),
    ("add-unique", "ALTER TABLE t ADD CONSTRAINT c EXCLUDE USING gist (a WITH =)"),
    ("add-unique", "ALTER TABLE t ADD COLUMN a int UNIQUE"),
    ("", "ALTER TABLE t ADD CONSTRAINT c UNIQUE USING INDEX i"),
    ("", "ALTER TABLE t ADD PRIMARY KEY USING INDEX i"),
    ("", "ALTER TABLE t VALIDATE CONSTRAINT c"),
    ("rewrite-table", "ALTER TABLE t SET UNLOGGED"),
    ("rewrite-table", "ALTER TABLE t SET TABLESPACE fast"),
    ("rewrite-table", "CLUSTER t USING i"),
    ("", "ALTER TABLE t SET (fillfactor = 70)"),
    ("rename-column", "ALTER TABLE t RENAME COLUMN a TO b"),
    ("rename-column", "ALTER TABLE t RENAME a TO b"),
    ("rename-table", "ALTER TABLE t RENAME TO u"),
    ("rename-table", "ALTER TABLE t SET SCHEMA s"),
    ("", "ALTER TABLE t RENAME CONSTRAINT c TO d"),
    ("", "ALTER INDEX i RENAME TO j"),
    ("drop-column", "ALTER TABLE t DROP COLUMN a"),
    ("drop-column", "ALTER TABLE t DROP IF EXISTS a CASCADE"),
    ("", "ALTER TABLE t DROP CONSTRAINT c"),
    ("drop-table", "DROP TABLE t"),
    ("drop-table", "DROP TABLE IF EXISTS s.t, u CASCADE"),
    ("drop-table", "DROP SCHEMA s CASCADE"),
    ("", "DROP SCHEMA s"),
    ("", "DROP VIEW v"),
    ("truncate", "TRUNCATE t"),
    ("truncate", "TRUNCATE TABLE ONLY t, u"),
    ("outside-transaction", "CREATE INDEX CONCURRENTLY i ON t (a)"),
    ("outside-transaction", "CREATE UNIQUE INDEX CONCURRENTLY ON t (a)"),
    ("outside-transaction", "DROP INDEX CONCURRENTLY i"),
    ("outside-transaction", "REINDEX INDEX CONCURRENTLY i"),
    ("outside-transaction", "REINDEX (CONCURRENTLY) TABLE t"),
    ("outside-transaction", "VACUUM t"),
    ("outside-transaction", "CREATE DATABASE d"),
    ("outside-transaction", "CREATE TABLESPACE s LOCATION '/x'"),
    ("outside-transaction", "ALTER SYSTEM SET work_mem = '1GB'"),
    ("outside-transaction", "ALTER DATABASE d SET TABLESPACE s"),
    ("outside-transaction", "ALTER TABLE t DETACH PARTITION p CONCURRENTLY"),
    ("outside-transaction", "CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p"),
    ("outside-transaction", "DISCARD ALL"),
    ("", "CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p WITH (connect = false)"),
    ("", "ALTER DATABASE d SET search_path = x"),
    ("", "REFRESH MATERIALIZED VIEW CONCURRENTLY v"),
    ("lock-table", "LOCK TABLE t IN SHARE MODE"),
    ("lock-table", "LOCK t"),
    ("session-setting", "SET search_path = public"),
    ("session-setting", "SET SESSION ROLE other"),
    ("session-setting", "set lock_timeout to '1s'"),
    ("session-setting", "SET SESSION AUTHORIZATION other"),
    ("session-setting", "SET \"role\" TO other"),
    ("session-setting", "SELECT pg_catalog.set_config('search_path', '', false)"),
    ("", "SET LOCAL search_path = public"),
    ("", "SET LOCAL statement_timeout = 0"),
    ("", "SET work_mem = '64MB'"),
    ("", "SELECT set_config('search_path', '', true)"),
    ("", "UPDATE t SET role = 'x'"),
    ("", "INSERT INTO t VALUES ('DROP TABLE t; VACUUM')"),
    ("", "DO $$ BEGIN DROP TABLE t; END $$"),
    ("", "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC DELETE FROM t; SELECT 1; END"),
    ("", "ALTER TYPE e ADD VALUE 'x'"),
];

#[test]
fn each_statement_is_found_to_be_what_it_does() {
    let mut wrong = Vec::new();
    for (rule, sql) in STATEMENTS {
        let want: Vec<String> = if rule.is_empty() { vec![] } else { vec![format!("2 {rule}")] };
        let have = of(&format!("-- why\n{sql};\n"));
        if have != want {
            wrong.push(format!("{sql}: wanted {want:?}, got {have:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), STATEMENTS.len(), wrong.join("\n"));
}

#[test]
fn every_rule_has_a_statement_and_words_that_help() {
    let elsewhere = ["validate-with-add", "enum-value-in-use", "several-statements", "bad-comment"];
    for rule in RULES {
        assert!(rule.id.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{}", rule.id);
        let is_shown = STATEMENTS.iter().any(|(id, _)| *id == rule.id) || elsewhere.contains(&rule.id);
        assert!(is_shown, "no statement shows `{}`", rule.id);
        for text in [rule.effect, rule.instead] {
            assert!(text.len() > 20 && !text.ends_with('.'), "{}: {text}", rule.id);
        }
    }
    let mut ids: Vec<&str> = RULES.iter().map(|rule| rule.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), RULES.len());
}

#[test]
fn every_rule_is_in_the_documentation_word_by_word() {
    let docs = include_str!("../../../docs/migrations.md");
    for rule in RULES {
        let row = format!("| `{}` | {} | {} | {} |", rule.id, rule.severity, rule.effect, rule.instead);
        assert!(docs.contains(&row), "docs/migrations.md lacks {row}");
    }
}

#[test]
fn each_action_of_an_alter_table_has_a_line_of_its_own() {
    let sql = "ALTER TABLE t\n    ADD COLUMN a numeric(1, 2) NOT NULL,\n    DROP COLUMN b,\n\n    ALTER c TYPE text;\n";
    assert_eq!(of(sql), ["2 add-column-not-null", "3 drop-column", "5 alter-column-type"]);
}

#[test]
fn a_table_that_the_set_creates_is_nobodys_yet() {
    let sql = "CREATE TABLE IF NOT EXISTS s.t (a int);\nCREATE INDEX i ON t (a);\nDROP INDEX i;\n\
        ALTER TABLE T ALTER a TYPE bigint, ADD b int NOT NULL, ADD UNIQUE (a);\nTRUNCATE s.t;\n\
        ALTER TABLE s.t RENAME TO u;\nCREATE INDEX ON s.u (a);\nDROP TABLE u;\n";
    assert_eq!(of(sql), Vec::<String>::new());
    assert_eq!(of("CREATE TABLE s.t (a int);\nCREATE INDEX ON o.t (a);\n"), ["2 create-index"]);
    assert_eq!(of("CREATE TABLE \"T\" (a int);\nCREATE INDEX ON t (a);\n"), ["2 create-index"]);
    assert_eq!(of("CREATE TABLE t (a int);\nDROP TABLE t, old;\n"), ["2 drop-table"]);

    let files =
        [file("V1__a.sql", "CREATE TABLE t (a int);\n"), file("V2__b.sql", "CREATE INDEX ON t (a);\n")];
    assert_eq!(check(&files), []);
    assert_eq!(shown(&check(&files[1..])), ["1 create-index"]);
}

#[test]
fn what_needs_no_transaction_is_fine_where_there_is_none() {
    let index = "CREATE INDEX CONCURRENTLY i ON t (a);\n";
    assert_eq!(of(&format!("{NO_TRANSACTION}{index}")), Vec::<String>::new());
    assert_eq!(of(&format!("{NO_TRANSACTION}{index}VACUUM t;\n")), ["3 several-statements"]);
    assert_eq!(of(&format!("-- drawbridge: own-transaction\n{index}")), ["2 outside-transaction"]);
    // Waiting for a lock that blocks writers is no better without a transaction.
    assert_eq!(of(&format!("{NO_TRANSACTION}CREATE INDEX ON t (a);")), ["2 create-index"]);
}

#[test]
fn a_new_value_of_an_enumeration_is_not_used_before_it_is_committed() {
    let add = "ALTER TYPE mood ADD VALUE IF NOT EXISTS 'fine' AFTER 'bad';\n";
    let usage = "UPDATE t\nSET mood = 'fine';\n";
    assert_eq!(of(&format!("{add}{usage}")), ["3 enum-value-in-use"]);
    // PostgreSQL 16 does not care that the type itself is new.
    assert_eq!(of(&format!("CREATE TYPE mood AS ENUM ('bad');\n{add}{usage}")), ["4 enum-value-in-use"]);

    let set = |second: &str| check(&[file("V1__a.sql", add), file("V2__b.sql", second)]);
    let found = set(usage);
    assert_eq!(shown(&found), ["2 enum-value-in-use"]);
    assert_eq!(found[0].file, "V2__b.sql");
    assert!(found[0].instead.contains("own-transaction"), "{}", found[0].instead);
    assert_eq!(set(&format!("-- drawbridge: own-transaction\n{usage}")), []);
    assert_eq!(set(&format!("{NO_TRANSACTION}{usage}")), []);
}

#[test]
fn a_constraint_is_not_validated_under_the_lock_that_added_it() {
    let add = "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID;\n";
    let validate = "ALTER TABLE t VALIDATE CONSTRAINT c;\n";
    assert_eq!(of(&format!("{add}{validate}")), ["2 validate-with-add"]);
    let set = |second: &str| check(&[file("V1__a.sql", add), file("V2__b.sql", second)]);
    assert_eq!(shown(&set(validate)), ["1 validate-with-add"]);
    assert_eq!(set(&format!("-- drawbridge: own-transaction\n{validate}")), []);
}

#[test]
fn a_comment_before_a_statement_exempts_it_from_the_rules_that_it_names() {
    assert_eq!(of("-- drawbridge: allow drop-table\nDROP TABLE t;\n"), Vec::<String>::new());
    let both = "SELECT 1;\n-- gone since May\n  --drawbridge: allow drop-column , set-not-null\n\n-- really\n\
        ALTER TABLE t DROP a, ALTER b SET NOT NULL, ALTER c TYPE text;\nDROP TABLE t;\n";
    assert_eq!(of(both), ["6 alter-column-type", "7 drop-table"]);
}

#[test]
fn a_comment_that_does_nothing_is_an_error() {
    for (sql, line) in [
        ("-- drawbridge: allow drop-tables\nSELECT 1;\n", 1),
        ("SELECT 1;\n-- drawbridge: allow\nSELECT 2;\n", 2),
        ("-- drawbridge: allow drop-table,\nSELECT 1;\n", 1),
        ("SELECT 1; -- drawbridge: allow drop-table\nSELECT 2;\n", 1),
        ("SELECT 1,\n-- drawbridge: allow drop-table\n2;\n", 2),
        ("SELECT 1;\n-- drawbridge: allow drop-table\n", 2),
        ("-- why\n-- drawbridge: no-transaction\nSELECT 1;\n", 2),
        ("SELECT 1;\n-- drawbridge: alow drop-table\nSELECT 2;\n", 2),
    ] {
        assert_eq!(of(sql), [format!("{line} bad-comment")], "{sql}");
    }
    // Words in a string are no comment.
    assert_eq!(of("SELECT '\n-- drawbridge: allow nothing\n';\n"), Vec::<String>::new());
}

#[test]
fn a_finding_tells_file_effect_and_remedy() {
    let found = findings("DROP INDEX i;\n").remove(0);
    assert_eq!((found.file.as_str(), found.severity), ("V1__a.sql", Severity::Warning));
    assert!(found.effect.contains("waits") && found.instead.contains("CONCURRENTLY"), "{found:?}");
}

#[test]
fn the_projects_own_migrations_hurt_nobody_as_one_set() {
    let migrations = load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations")).unwrap();
    assert_eq!(check(&migrations), []);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_lint_fall_over_or_point_outside(
        words in prop::collection::vec(prop_oneof![
            prop::sample::select(vec![
                "ALTER", "TABLE", "TYPE", "ADD", "DROP", "COLUMN", "CREATE", "INDEX", "CONCURRENTLY", "ON", "VALUE",
                "CONSTRAINT", "NOT", "NULL", "VALID", "DEFAULT", "SET", "set_config", "RENAME", "TO", "VALIDATE",
                "(", ")", ",", ";", ".", "*", "'x'", "E'\\'", "\"", "$$", "/*", "*/", "\n", "BEGIN ATOMIC", "CASE", "END",
                "t", "\"T\"", "random", "TRUNCATE", "REINDEX", "VACUUM", "SCHEMA", "CASCADE", "é", "\n-- drawbridge: ",
                "allow drop-table", "allow", "no-transaction\n", "--",
            ]).prop_map(str::to_owned),
            ".{0,5}",
        ], 0..40),
    ) {
        let sql = words.join(" ");
        if let Ok(migration) = parse("V1__a.sql", sql.as_bytes()) {
            let lines = sql.matches('\n').count() + 1;
            let found = check(std::slice::from_ref(&migration));
            prop_assert!(found.iter().all(|finding| (1..=lines).contains(&finding.line)), "{found:?}");
            prop_assert!(found.is_sorted_by_key(|finding| finding.line));
            // What was judged once is judged the same again, and twice the same file adds nothing of its own.
            prop_assert_eq!(&found, &check(std::slice::from_ref(&migration)));
        }
    }

    #[test]
    fn layout_and_case_change_no_verdict(
        at in 0..STATEMENTS.len(), upper in any::<bool>(), space in "[ \n\t]{1,3}|/\\* no \\*/|-- no\n",
    ) {
        let (rule, sql) = STATEMENTS[at];
        // Names in quotes and strings keep their case.
        prop_assume!(!sql.contains(['\'', '"', '$']));
        let sql = if upper { sql.to_uppercase() } else { sql.to_lowercase() };
        let rules: Vec<String> =
            findings(&sql.replace(' ', &space)).into_iter().map(|finding| finding.rule).collect();
        let want: Vec<String> = (!rule.is_empty()).then(|| rule.to_owned()).into_iter().collect();
        prop_assert_eq!(rules, want);
    }
}
