//! What the lint says, held against a real PostgreSQL 16.

#![expect(clippy::unwrap_used, reason = "a test that cannot prepare itself has failed")]

use db::migration::lint;
use db::migration::parse;

use crate::db::{Database, spec};

const PREPARE: &str = "
    CREATE TABLE u (id int PRIMARY KEY);
    CREATE TABLE t (a int, b int, c text, d timestamptz);
    INSERT INTO t VALUES (1, 1, 'x', now());
    CREATE INDEX i ON t (a);
    CREATE TYPE mood AS ENUM ('bad');
    CREATE TABLE p (a int) PARTITION BY LIST (a);
    CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);";

/// What a statement does in a transaction, as PostgreSQL tells.
#[derive(Debug, PartialEq)]
enum Effect {
    /// It is refused, with this SQLSTATE.
    Refused(&'static str),
    /// The table is written anew.
    Rewrites,
    /// The table stays as it is on disk.
    Keeps,
}

use Effect::{Keeps, Refused, Rewrites};

/// Statements, what they do, and the rule that says so.
const STATEMENTS: &[(&str, Effect, &str)] = &[
    ("CREATE INDEX CONCURRENTLY j ON t (b)", Refused("25001"), "outside-transaction"),
    ("DROP INDEX CONCURRENTLY i", Refused("25001"), "outside-transaction"),
    ("REINDEX INDEX CONCURRENTLY i", Refused("25001"), "outside-transaction"),
    ("REINDEX (CONCURRENTLY) TABLE t", Refused("25001"), "outside-transaction"),
    ("REINDEX SCHEMA public", Refused("25001"), "outside-transaction"),
    ("VACUUM t", Refused("25001"), "outside-transaction"),
    ("VACUUM (FULL) t", Refused("25001"), "outside-transaction"),
    ("CREATE DATABASE d", Refused("25001"), "outside-transaction"),
    ("DROP DATABASE d", Refused("25001"), "outside-transaction"),
    ("CREATE TABLESPACE s LOCATION '/x'", Refused("25001"), "outside-transaction"),
    ("DROP TABLESPACE s", Refused("25001"), "outside-transaction"),
    ("ALTER SYSTEM SET work_mem = '1MB'", Refused("25001"), "outside-transaction"),
    ("ALTER DATABASE shop SET TABLESPACE pg_default", Refused("25001"), "outside-transaction"),
    ("ALTER TABLE p DETACH PARTITION p1 CONCURRENTLY", Refused("25001"), "outside-transaction"),
    ("DISCARD ALL", Refused("25001"), "outside-transaction"),
    ("CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p", Refused("25001"), "outside-transaction"),
    ("CLUSTER", Refused("25001"), "outside-transaction"),
    ("ALTER TABLE t ADD COLUMN n int NOT NULL", Refused("23502"), "add-column-not-null"),
    ("ALTER TYPE mood ADD VALUE 'ok'; SELECT 'ok'::mood", Refused("55P04"), "enum-value-in-use"),
    ("ALTER TABLE t ALTER COLUMN a TYPE bigint", Rewrites, "alter-column-type"),
    ("ALTER TABLE t ADD COLUMN n uuid DEFAULT gen_random_uuid()", Rewrites, "add-column-volatile-default"),
    ("ALTER TABLE t ADD COLUMN n float DEFAULT random()", Rewrites, "add-column-volatile-default"),
    (
        "ALTER TABLE t ADD COLUMN n timestamptz DEFAULT clock_timestamp()",
        Rewrites,
        "add-column-volatile-default",
    ),
    ("ALTER TABLE t ADD COLUMN n bigserial", Rewrites, "add-column-volatile-default"),
    (
        "ALTER TABLE t ADD COLUMN n bigint GENERATED ALWAYS AS IDENTITY",
        Rewrites,
        "add-column-volatile-default",
    ),
    (
        "ALTER TABLE t ADD COLUMN n int GENERATED ALWAYS AS (a + 1) STORED",
        Rewrites,
        "add-column-volatile-default",
    ),
    ("ALTER TABLE t SET UNLOGGED", Rewrites, "rewrite-table"),
    ("CLUSTER t USING i", Rewrites, "rewrite-table"),
    ("TRUNCATE t", Rewrites, "truncate"),
    ("ALTER TABLE t ADD COLUMN n int NOT NULL DEFAULT 7", Keeps, ""),
    ("ALTER TABLE t ADD COLUMN n timestamptz NOT NULL DEFAULT now()", Keeps, ""),
    ("ALTER TABLE t ADD COLUMN n int REFERENCES u", Keeps, ""),
    ("ALTER TABLE t ADD CONSTRAINT c CHECK (a > 5) NOT VALID", Keeps, ""),
    ("ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u NOT VALID", Keeps, ""),
    ("ALTER TYPE mood ADD VALUE 'ok'", Keeps, ""),
    (
        "CREATE TYPE new AS ENUM ('a'); ALTER TYPE new ADD VALUE 'b'; SELECT 'b'::new",
        Refused("55P04"),
        "enum-value-in-use",
    ),
    ("SET LOCAL lock_timeout = '1s'", Keeps, ""),
    // Not rewritten, but read or kept from others: what the lint knows and a file node does not show.
    ("ALTER TABLE t ALTER COLUMN a SET NOT NULL", Keeps, "set-not-null"),
    ("ALTER TABLE t ADD CHECK (a > 0)", Keeps, "add-check"),
    // A default makes PostgreSQL look each row up, and there is nothing in the other table.
    ("ALTER TABLE t ADD COLUMN n int DEFAULT 1 REFERENCES u", Refused("23503"), "add-foreign-key"),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_the_lint_says_of_a_statement_is_what_postgresql_does() {
    let db = Database::start().await;
    db.create(&[spec("shop")]).await;
    let session = db.connect(&spec("shop").login()).await;
    session.client().batch_execute(PREPARE).await.unwrap();
    let node = async || -> u32 {
        let row = session.client().query_one("SELECT pg_relation_filenode('t')", &[]).await.unwrap();
        row.get(0)
    };
    let mut wrong = Vec::new();
    for (sql, want, rule) in STATEMENTS {
        let before = node().await;
        session.client().batch_execute("BEGIN").await.unwrap();
        let mut have = Keeps;
        for statement in sql.split("; ") {
            if let Err(error) = session.client().batch_execute(statement).await {
                let code = error.code().unwrap().code().to_owned();
                have = Refused(Box::leak(code.into_boxed_str()));
                break;
            }
        }
        if have == Keeps && node().await != before {
            have = Rewrites;
        }
        session.client().batch_execute("ROLLBACK").await.unwrap();
        let found = lint::check(&[parse("V1__a.sql", sql.as_bytes()).unwrap()]);
        let is_found =
            if rule.is_empty() { found.is_empty() } else { found.iter().any(|one| one.rule == *rule) };
        if have != *want || !is_found {
            wrong.push(format!("{sql}: wanted {want:?} and `{rule}`, got {have:?} and {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    session.close().await;
    db.stop().await;
}
