//! Statements end where psql ends them: the same files leave the same catalogs, by psql, in one transaction, and one
//! statement after the other.

use std::process::Command;

use db::migrate::RunOptions;
use sandbox::Programs;
use tests::Random;

use super::applied;
use crate::db::{Database, file, spec};

const SEED: u64 = 0x0d2a_3b1d_6e00_0017;
const STATEMENTS: usize = 60;

const CATALOG: &str = "
    SELECT 'rule ' || tablename || ' ' || definition FROM pg_rules WHERE schemaname = 'public'
    UNION ALL SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    UNION ALL SELECT format('%s %s %s', c.relname, a.attname, a.atttypid::regtype)
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
        WHERE c.relnamespace = 'public'::regnamespace AND c.relname !~ 'refinery'
    UNION ALL SELECT format('said %s %s', id, text) FROM said ORDER BY 1";

/// Text to PostgreSQL, and full of what could end a statement.
const TEXTS: [&str; 14] = [
    "'x;y'",
    "'it''s; '",
    "'back\\'",
    "E'\\';\\\\'",
    "'a'\n'b\\'",
    "$$;'$$",
    "$t$;$$;$t$",
    "$é1$;$é$;$é1$",
    "/* ; /* ' */ $$ */ 'c'",
    "-- ; ' $$ \" /*\n 'd'",
    "(CASE WHEN true THEN ';' END)",
    "(SELECT \"q;\"\"\" FROM (VALUES (')')) v(\"q;\"\"\"))",
    "CASE WHEN true THEN CASE 1 WHEN 1. THEN 'e;' END END",
    "U&'\\0041;'",
];

/// Strings that go on as they began. psql reads line by line and takes the second part for a string of its own; the server
/// does not.
const CONTINUED: [&str; 2] = ["E'a'\n  'b\\';'", "e'' -- c;\n  '\\';'"];

fn text(random: &mut Random) -> &'static str {
    TEXTS[random.below(TEXTS.len())]
}

fn statement(n: usize, random: &mut Random) -> String {
    let (a, b, c) = (text(random), text(random), text(random));
    match random.below(5) {
        0 => format!("INSERT INTO said (text) SELECT {a} || {b};"),
        1 => format!(
            "CREATE TABLE t{n} (id int);\nCREATE RULE r{n} AS ON INSERT TO t{n} DO ALSO (\n\
             INSERT INTO said (text) VALUES ({a}); INSERT INTO said (text) VALUES ({b} || {c})\n);\n\
             INSERT INTO t{n} VALUES (1);"
        ),
        2 => format!(
            "CREATE FUNCTION f{n}() RETURNS text BEGIN ATOMIC SELECT {a};\n\
             SELECT CASE WHEN true THEN {b} ELSE CASE 1 WHEN 1 THEN {c} END END; END;\n\
             INSERT INTO said (text) SELECT f{n}();"
        ),
        3 => format!("DO $do$ BEGIN INSERT INTO said (text) VALUES ({a}); END $do$;;"),
        _ => format!(
            "CREATE OR REPLACE PROCEDURE p{n}() BEGIN ATOMIC INSERT INTO said (text) VALUES ({a});\n\
             INSERT INTO said (text) VALUES ({b}); END;\nCALL p{n}();"
        ),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_file_leaves_the_same_by_psql_in_a_transaction_and_without() {
    let db = Database::start().await;
    db.create(&["psql", "together", "bare"].map(spec)).await;
    let mut random = Random::new(SEED);
    let mut sql = "CREATE TABLE said (id int GENERATED ALWAYS AS IDENTITY, text text);\n".to_owned();
    for n in 0..STATEMENTS {
        sql.push_str(&statement(n, &mut random));
        sql.push_str("\n\n");
    }
    let script = db.socket().with_file_name("script.sql");
    std::fs::write(&script, &sql).unwrap();
    let psql = Programs::psql(&tests::sandboxes()).expect("the sandbox brings one");
    let mut command = Command::new(psql);
    command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "psql", "-f"]).arg(&script).env_clear();
    command.env("PGHOST", db.socket()).env("PGUSER", "psql_app").env("PGPASSWORD", "of psql");
    let ran = tokio::task::spawn_blocking(move || tests::run(command)).await.unwrap().expect(0);
    assert!(ran.stderr.is_empty(), "{ran:?}");
    std::fs::remove_file(&script).unwrap();

    let options = RunOptions::default();
    let reports = db.migrate_with(&["together"], &[file("V1__a.sql", &sql)], &options).await;
    assert_eq!(applied(&reports[0]), ["V1__a"]);
    let bare = format!("-- drawbridge: no-transaction\n{sql}");
    let reports = db.migrate_with(&["bare"], &[file("V1__a.sql", &bare)], &options).await;
    assert_eq!(applied(&reports[0]), ["V1__a"]);

    let by_psql = db.names(&spec("psql").login(), CATALOG).await;
    assert!(by_psql.len() > STATEMENTS, "{by_psql:#?}");
    for tenant in ["together", "bare"] {
        assert_eq!(db.names(&spec(tenant).login(), CATALOG).await, by_psql, "{tenant}");
    }

    let whole = sql;
    let sql: String =
        CONTINUED.iter().map(|text| format!("INSERT INTO said (text) SELECT {text};\n")).collect();
    for (tenant, first, marker) in
        [("together", &whole, ""), ("bare", &bare, "-- drawbridge: no-transaction\n")]
    {
        let files = [file("V1__a.sql", first), file("V2__b.sql", &format!("{marker}{sql}"))];
        let reports = db.migrate_with(&[tenant], &files, &options).await;
        assert_eq!(applied(&reports[0]), ["V2__b"]);
        let said = db.names(&spec(tenant).login(), "SELECT text FROM said ORDER BY id DESC LIMIT 2").await;
        assert_eq!(said, ["';", "ab';"]);
    }
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_behind_a_rule_with_several_statements_is_found_where_it_is() {
    let db = Database::start().await;
    db.create(&[spec("shop")]).await;
    let rule = "CREATE TABLE t (i int);\nCREATE TABLE l (i int UNIQUE);\n\
                CREATE RULE r AS ON INSERT TO t DO ALSO (\n  INSERT INTO l VALUES (1);\n  INSERT INTO l VALUES (2)\n);\n\
                CREATE FUNCTION f() RETURNS int BEGIN ATOMIC\n  SELECT 1;\n  SELECT 2;\nEND;\n\
                INSERT INTO l VALUES (3), (3);\n";
    for marker in ["", "-- drawbridge: own-transaction\n", "-- drawbridge: no-transaction\n"] {
        let files = [
            file("V1__before.sql", "SELECT 1;\nSELECT 2;\n"),
            file("V2__rule.sql", &format!("{marker}{rule}")),
            file("V3__after.sql", "SELECT 1;\n"),
        ];
        let reports = db.migrate_with(&["shop"], &files, &RunOptions::default()).await;
        let (_, migration, error) = super::failure(&reports[0]);
        let line = 11 + marker.matches('\n').count();
        assert_eq!((migration, error.sqlstate()), (Some("V2__rule"), Some("23505")), "{error}");
        assert!(error.to_string().contains(&format!("in line {line}")), "{marker}: {error}");
    }
    db.stop().await;
}
