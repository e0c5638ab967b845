//! Where one file ends and the next begins, though both are in one message to the server.

use db::Migration;
use db::migrate::RunOptions;

use super::{TABLES, applied, failure, tables};
use crate::db::{Database, file, spec};

fn between(sql: &str, next: &str) -> Vec<Migration> {
    let mut files = tables(2);
    files[1] = file("V2__middle.sql", sql);
    files.push(file("V3__next.sql", next));
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_ends_in_the_middle_of_something_swallows_nothing_and_is_named() {
    let db = Database::start().await;
    db.create(&[spec("shop")]).await;
    // With what the next file would need to have closed it.
    for (sql, next, says) in [
        ("CREATE TABLE a (id int);\n/* never closed", "SELECT 1 -- */;\n", "unterminated /* comment"),
        ("CREATE TABLE a (id int);\nSELECT 'never closed", "SELECT 1 -- ';\n", "unterminated quoted string"),
        (
            "CREATE TABLE a (id int);\nSELECT 1 \"never closed",
            "SELECT 1 -- \";\n",
            "unterminated quoted identifier",
        ),
        (
            "CREATE TABLE a (id int);\nSELECT $a$never closed",
            "SELECT 1 -- $a$;\n",
            "unterminated dollar-quoted",
        ),
        ("CREATE TABLE a (id int);\nSELECT (1", "SELECT 1;\n", "syntax error"),
        (
            "CREATE TABLE a (id int);\nCREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1;\n",
            "SELECT 1;\n",
            "syntax error",
        ),
    ] {
        let reports = db.migrate_with(&["shop"], &between(sql, next), &RunOptions::default()).await;
        let (done, migration, error) = failure(&reports[0]);
        assert_eq!((done.len(), migration), (0, Some("V2__middle")), "{sql}: {error}");
        let error = error.chain();
        assert!(error.contains(says) && error.contains("in line "), "{sql}: {error}");
        assert!(!error.contains("refinery") && !error.contains("drawbridge"), "{sql}: {error}");
        assert!(db.names(&spec("shop").login(), TABLES).await.is_empty(), "{sql}");
    }
    // A comment at the end, no semicolon, and several of them.
    for (at, sql) in ["SELECT 1 -- the end", "SELECT 1", "SELECT 1;;;\n", "SELECT '\\';\n"].iter().enumerate()
    {
        let tenant = format!("tenant_{at}");
        db.create(&[spec(&tenant)]).await;
        let reports = db.migrate_with(&[&tenant], &between(sql, "SELECT 3;\n"), &RunOptions::default()).await;
        assert_eq!(applied(&reports[0]), ["V1__t1", "V2__middle", "V3__next"], "{sql}");
    }
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_backslash_escapes_no_file_swallows_the_next() {
    let db = Database::start().await;
    db.create(&[spec("shop")]).await;
    db.as_owner("shop", "ALTER DATABASE shop SET standard_conforming_strings = off").await;
    // To this server the quotation goes on.
    let files = between("SELECT 'a\\';\n", "SELECT 1 -- ';\n");
    let reports = db.migrate_with(&["shop"], &files, &RunOptions::default()).await;
    let (done, migration, error) = failure(&reports[0]);
    assert_eq!((done.len(), migration), (0, Some("V2__middle")), "{error}");
    assert!(error.chain().contains("unterminated quoted string"), "{error}");
    assert!(db.names(&spec("shop").login(), TABLES).await.is_empty());

    let files = between("CREATE TABLE a AS SELECT 'it\\'s' AS a;\n", "SELECT 1;\n");
    let reports = db.migrate_with(&["shop"], &files, &RunOptions::default()).await;
    assert_eq!(applied(&reports[0]).len(), 3);
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_cannot_be_written_is_not_the_files_fault() {
    let db = Database::start().await;
    db.create(&[spec("shop")]).await;
    db.migrate_with(&["shop"], &tables(1), &RunOptions::default()).await;
    let refuse = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                  RAISE EXCEPTION 'no more of them'; END $$; \
                  CREATE TRIGGER refuse BEFORE INSERT ON refinery_schema_history \
                  FOR EACH ROW WHEN (NEW.version > 2) EXECUTE FUNCTION refuse()";
    db.as_owner("shop", refuse).await;
    let files = between("SELECT 1;\nSELECT 2;\n", "SELECT 3;\n");
    let reports = db.migrate_with(&["shop"], &files, &RunOptions::default()).await;
    let (done, migration, error) = failure(&reports[0]);
    assert_eq!((done.len(), migration), (0, None), "{error}");
    let says = "cannot record `V3__next` of tenant `shop`: ERROR: no more of them";
    assert!(error.chain().starts_with(says), "{error}");
    db.stop().await;
}
