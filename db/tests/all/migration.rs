use std::fs;
use std::path::Path;

use db::Error;
use db::migration::{Order, gaps, load, load_set, parse, sets};
use proptest::prelude::*;
use tempfile::TempDir;

fn dir(files: &[(&str, &str)]) -> TempDir {
    let dir = TempDir::new().unwrap();
    for (name, content) in files {
        fs::write(dir.path().join(name), content).unwrap();
    }
    dir
}

#[test]
fn migrations_come_by_version_not_by_name_of_file() {
    let dir = dir(&[
        ("V10__ten.sql", "SELECT 10;\n"),
        ("V9__nine.sql", "SELECT 9;\n"),
        ("U2__two.sql", "SELECT 2;\n"),
        (".gitkeep", ""),
    ]);
    let migrations = load(dir.path()).unwrap();
    let names: Vec<String> = migrations.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["U2__two", "V9__nine", "V10__ten"]);
    assert_eq!(migrations[0].order(), Order::Free);
    assert_eq!(migrations[1].order(), Order::Versioned);
    assert_eq!(migrations[2].sql(), "SELECT 10;\n");
}

#[test]
fn the_projects_own_migrations_load_without_a_gap() {
    let migrations = load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations")).unwrap();
    assert!(migrations.len() >= 4 && migrations[0].version() == 1);
    assert_eq!(gaps(&migrations), Vec::<i32>::new());
}

#[test]
fn the_checksum_is_refinerys() {
    let ours = parse("V1__create_accounts.sql", b"CREATE TABLE account (id int);\n").unwrap();
    // SipHash-1-3 of name, version and text, worked out by hand; another would make every history divergent.
    assert_eq!(ours.checksum(), 12_033_747_706_393_553_743);
}

#[test]
fn every_file_that_refinery_would_skip_or_misread_is_named_at_once() {
    let names = [
        "V1_one_underscore.sql",
        "V1__with-hyphen.sql",
        "V1__upper.SQL",
        "v1__lower.sql",
        "V1__.sql",
        "V__no_version.sql",
        "V1.5__half.sql",
        "V99999999999__high.sql",
        "|1__bar.sql",
        "V1__ñ.sql",
        "README.md",
        "V1__old.sql.bak",
    ];
    let dir = dir(&names.map(|name| (name, "SELECT 1;\n")));
    fs::create_dir(dir.path().join("V2__directory.sql")).unwrap();
    let error = load(dir.path()).unwrap_err();
    assert!(error.is_usage());
    let Error::Migrations { problems, .. } = &error else { panic!("{error:?}") };
    assert_eq!(problems.len(), names.len() + 1, "{problems:#?}");
    for name in names {
        assert!(problems.iter().any(|problem| problem.starts_with(&format!("`{name}`: "))), "{name}");
    }
}

#[test]
fn two_files_of_one_version_are_refused_with_both_names() {
    for other in ["V1__b.sql", "V01__b.sql", "U1__b.sql"] {
        let dir = dir(&[("V1__a.sql", "SELECT 1;\n"), (other, "SELECT 1;\n")]);
        let text = load(dir.path()).unwrap_err().to_string();
        assert!(text.contains("V1__a.sql") && text.contains(other), "{text}");
    }
}

#[test]
fn versions_clash_however_far_apart_and_however_written_the_files_are() {
    // Between them by name of file: another version, another prefix, another case.
    let dir = dir(&[
        ("U10__late.sql", "SELECT 1;\n"),
        ("U3__a.sql", "SELECT 1;\n"),
        ("V10__late.sql", "SELECT 1;\n"),
        ("V3__B.sql", "SELECT 1;\n"),
        ("V3__b.sql", "SELECT 1;\n"),
        ("V7__b.sql", "SELECT 1;\n"),
    ]);
    let Error::Migrations { problems, .. } = load(dir.path()).unwrap_err() else { panic!("another error") };
    assert_eq!(
        problems,
        [
            "`V10__late.sql`: version 10 is also `U10__late.sql`",
            "`V3__B.sql`: version 3 is also `U3__a.sql`",
            "`V3__b.sql`: version 3 is also `U3__a.sql`",
        ]
    );
}

#[test]
fn names_that_are_meant_to_hurt_are_refused_and_shown_in_one_line() {
    let hostile = [
        "V1__a'; DROP TABLE t; --.sql",
        "V1__a\"b.sql",
        "V1__a\nV2__b.sql",
        "V1__a\u{1b}[2J.sql",
        "V1__a\u{202e}b.sql",
        "V1__$(id).sql",
        "V1__a\\.sql",
        "V1__a`.sql",
        "V-1__a.sql",
        "V+1__a.sql",
        "V\u{661}__a.sql",
    ];
    let dir = dir(&hostile.map(|name| (name, "SELECT 1;\n")));
    let error = load(dir.path()).unwrap_err();
    let Error::Migrations { problems, .. } = &error else { panic!("{error:?}") };
    assert_eq!(problems.len(), hostile.len(), "{problems:#?}");
    let text = error.to_string();
    assert!(!text.contains(|c: char| c.is_control() || c == '\u{202e}'), "{text:?}");

    for name in [format!("V1__{}.sql", "a".repeat(10_000)), format!("V{}__a.sql", "1".repeat(10_000))] {
        let refused = parse(&name, b"SELECT 1;\n").unwrap_err();
        assert!(refused.len() < 200, "{refused}");
    }
}

#[test]
fn bytes_that_change_the_checksum_or_hide_something_are_refused() {
    let cases: [(&[u8], &str); 7] = [
        (b"SELECT 1;\r\n", "carriage return"),
        (b"\xef\xbb\xbfSELECT 1;\n", "byte order mark"),
        (b"SELECT '\xff';\n", "not UTF-8 from byte 9 on"),
        (b"SELECT 1;\0\n", "zero byte"),
        (b"", "no statement"),
        (b"-- nothing yet\n/* really */ ;\n", "no statement"),
        (b"SELECT 1;\n/* a /* nested */ comment */ Commit;\n", "line 2: `Commit`"),
    ];
    for (content, reason) in cases {
        let refused = parse("V1__a.sql", content).unwrap_err();
        assert!(refused.contains(reason), "{refused}");
    }
}

#[test]
fn statements_that_leave_the_transaction_are_refused() {
    for sql in [
        "BEGIN;",
        "begin transaction;",
        "SELECT 1; COMMIT",
        "SELECT 1;END;",
        "ROLLBACK;",
        "ROLLBACK WORK;",
        "ABORT;",
        "START TRANSACTION;",
        "PREPARE TRANSACTION 'x';",
        "SELECT 'it''s'; COMMIT;",
        "SELECT E'\\''; COMMIT;",
        "SELECT E'it''s \\''; COMMIT;",
        "SELECT a$b$c FROM t; COMMIT; SELECT a$b$c;",
        "SELECT $1$ FROM t; COMMIT;",
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; END; COMMIT;",
    ] {
        assert!(parse("V1__a.sql", sql.as_bytes()).is_err(), "{sql}");
    }
}

#[test]
fn the_same_words_inside_bodies_strings_names_and_comments_are_fine() {
    for sql in [
        "DO $$ BEGIN COMMIT; END; $$;",
        "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $body$ BEGIN; RETURN $$; COMMIT;$$; END $body$;",
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END;",
        "SELECT '; COMMIT;';",
        "SELECT E'\\'; COMMIT;';",
        "CREATE TABLE t (\"; commit;\" int);",
        "-- ; COMMIT;\nSELECT 1;",
        "/* ; COMMIT; /* COMMIT; */ ; COMMIT; */ SELECT 1;",
        "SAVEPOINT a; ROLLBACK TO a; ROLLBACK TO SAVEPOINT a; ROLLBACK WORK TO a; RELEASE a;",
        "PREPARE q AS SELECT 1;",
        "CREATE TABLE commits (begin_at int); SELECT begin_at AS commit FROM commits;",
    ] {
        parse("V1__a.sql", sql.as_bytes()).unwrap_or_else(|refused| panic!("{sql}: {refused}"));
    }
}

/// Returns the statements of a file, each with the line that it begins in.
fn statements(sql: &str) -> Vec<(usize, String)> {
    let file = parse("V1__a.sql", sql.as_bytes()).unwrap_or_else(|refused| panic!("{sql}: {refused}"));
    file.statements().into_iter().map(|(line, text)| (line, text.to_owned())).collect()
}

#[test]
fn a_statement_ends_where_postgresql_ends_it() {
    for (sql, count) in [
        ("CREATE RULE r AS ON INSERT TO t DO ALSO (INSERT INTO l VALUES (1); INSERT INTO l VALUES (2));", 1),
        (
            "CREATE RULE r AS ON INSERT TO t DO ALSO (SELECT ')'; SELECT $$)$$; SELECT \")\" /* ) */; -- )\n);",
            1,
        ),
        ("CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END;", 1),
        (
            "CREATE OR REPLACE PROCEDURE f(i int) BEGIN ATOMIC\nSELECT CASE i WHEN 1 THEN CASE WHEN true THEN 2. END END;\n\
          SELECT (CASE WHEN true THEN 1 END);\nEND;",
            1,
        ),
        ("CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1 AS end, t.case FROM t; SELECT 2; END;", 1),
        ("CREATE FUNCTION \"begin\"() RETURNS int LANGUAGE sql AS 'SELECT 1;';", 1),
        ("CREATE TABLE begin (atomic int);", 1),
        ("SELECT begin atomic FROM begin;", 1),
        ("SELECT E'a\\'' -- goes on\n  'b\\';';", 1),
        ("SELECT 'a'\n'b\\';", 1),
        ("SELECT E'a' /* no more */\n, 'b\\';", 1),
        ("SELECT U&'a;\\0041', U&\"d;\", B'1', X'f', N'n;';", 1),
        ("SELECT €$a$ FROM t;", 1),
        ("SELECT $é$;$é$, $_1$;$_1$, $$a;$b$;$$;", 1),
        ("SELECT 1$$;$$;", 1),
        ("/* a /* b; */ ; */ SELECT 1 /*/;/**/;*/; -- ;", 1),
        ("SELECT 1 +-- ;\n1;", 1),
        ("SELECT a[1], b[2:3];;;", 1),
    ] {
        let found = statements(&format!("{sql}\nSELECT 9;\n"));
        let last = (1 + sql.matches('\n').count() + 1, "SELECT 9".to_owned());
        assert_eq!((found.len(), found.last()), (count + 1, Some(&last)), "{sql}: {found:#?}");
    }
}

#[test]
fn a_copy_whose_other_side_is_the_client_is_refused_with_its_line() {
    for (sql, says) in [
        ("COPY (SELECT 1) TO STDOUT;", "`COPY .. TO STDOUT` sends rows"),
        ("copy t from stdin;\n1\t2\n\\.\n", "`COPY .. FROM STDIN` waits for rows"),
        ("COPY BINARY t (a, b) FROM/**/Stdin WITH (FORMAT csv, NULL 'x');", "`COPY .. FROM STDIN`"),
        ("COPY \"from\".\"stdin\" TO stdin;", "`COPY .. TO STDOUT`"),
        ("COPY t FROM STDIN; COMMIT;", "`COPY .. FROM STDIN`"),
    ] {
        let refused = parse("V1__a.sql", format!("CREATE TABLE a (i int);\n\n{sql}").as_bytes()).unwrap_err();
        assert!(refused.starts_with("line 3: ") && refused.contains(says), "{sql}: {refused}");
    }
    for sql in [
        "-- COPY t TO STDOUT;\nSELECT 'COPY t TO STDOUT;';",
        "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN COPY t FROM STDIN; END $$;",
        "COPY t FROM '/tmp/stdin'; COPY t TO PROGRAM 'cat' WITH (FORMAT csv);",
        "COPY (SELECT a FROM stdin) TO '/tmp/x';",
        "CREATE TABLE copy (stdin int); SELECT stdin FROM copy;",
        "SELECT copy FROM stdout;",
    ] {
        parse("V1__a.sql", sql.as_bytes()).unwrap_or_else(|refused| panic!("{sql}: {refused}"));
    }
}

#[test]
fn a_folder_names_the_file_and_line_of_each_copy() {
    let dir = dir(&[
        ("V1__a.sql", "SELECT 1;\nCOPY t TO STDOUT;\n"),
        ("V2__b.sql", "SELECT 1;\n"),
        ("V3__c.sql", "COPY t FROM stdin;\n"),
    ]);
    let error = load(dir.path()).unwrap_err();
    let Error::Migrations { problems, .. } = &error else { panic!("{error:?}") };
    assert!(error.is_usage() && problems.len() == 2, "{error}");
    assert!(
        problems[0].starts_with("`V1__a.sql`: line 2: ") && problems[1].starts_with("`V3__c.sql`: line 1: "),
        "{error}"
    );
}

#[test]
fn a_set_is_a_folder_with_files_and_a_history_of_its_own() {
    let dir = dir(&[("V1__flat.sql", "SELECT 1;\n")]);
    for set in ["webshop", "a", &"z".repeat(39)] {
        fs::create_dir(dir.path().join(set)).unwrap();
    }
    fs::write(dir.path().join("webshop/V1__own.sql"), "SELECT 2;\n").unwrap();
    fs::write(dir.path().join("webshop/V2__more.sql"), "SELECT 3;\n").unwrap();

    let names = |set: Option<&str>| {
        let set = load_set(dir.path(), set).unwrap();
        (set.name, set.table, set.migrations.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert_eq!(names(None), (None, "refinery_schema_history".to_owned(), vec!["V1__flat".to_owned()]));
    assert_eq!(
        names(Some("webshop")),
        (
            Some("webshop".to_owned()),
            "refinery_schema_history_webshop".to_owned(),
            vec!["V1__own".to_owned(), "V2__more".to_owned()]
        )
    );
    // The longest name still fits into a table's.
    assert_eq!(names(Some(&"z".repeat(39))).1.len(), 63);
    assert_eq!(sets(dir.path()).unwrap(), ["a".to_owned(), "webshop".to_owned(), "z".repeat(39)]);
}

#[test]
fn a_set_that_is_none_is_refused_with_those_that_there_are() {
    let dir = dir(&[("V1__flat.sql", "SELECT 1;\n")]);
    fs::create_dir(dir.path().join("webshop")).unwrap();
    for set in
        ["", ".", "..", "../webshop", "webshop/", "Webshop", "V1__flat.sql", "none", "a\nb", &"a".repeat(40)]
    {
        let error = load_set(dir.path(), Some(set)).unwrap_err();
        assert!(error.is_usage() && error.to_string().ends_with("there are: webshop"), "{error}");
        assert!(!error.to_string().contains('\n'), "{error}");
    }
    // A folder in a folder is a set of a set, which nobody can name.
    fs::create_dir(dir.path().join("webshop/deep")).unwrap();
    assert_eq!(load_set(dir.path(), Some("webshop")).unwrap().migrations.len(), 0);
    for folder in ["Webshop-2", "V2__dir.sql", "deep er"] {
        fs::create_dir(dir.path().join(folder)).unwrap();
        let error = load(dir.path()).unwrap_err().to_string();
        assert!(error.contains(folder) && error.contains("cannot be a set's"), "{error}");
        fs::remove_dir(dir.path().join(folder)).unwrap();
    }
}

#[test]
fn a_version_left_out_is_a_gap_but_a_date_as_version_is_not() {
    let of = |names: &[&str]| {
        let migrations: Vec<_> =
            names.iter().map(|name| parse(&format!("{name}.sql"), b"SELECT 1;").unwrap()).collect();
        gaps(&migrations)
    };
    assert_eq!(of(&["V1__a", "V2__b", "V5__c"]), [3, 4]);
    assert_eq!(of(&["V20260101__a", "V20260501__b"]), Vec::<i32>::new());
    assert_eq!(of(&[]), Vec::<i32>::new());
}

#[test]
fn a_position_in_characters_becomes_a_line() {
    let migration = parse("V1__a.sql", "-- é\nSELECT\nnothing;\n".as_bytes()).unwrap();
    assert_eq!(migration.line_of(1), 1);
    assert_eq!(migration.line_of(6), 2);
    assert_eq!(migration.line_of(13), 3);
    assert_eq!(migration.line_of(u32::MAX), 4);
}

#[test]
fn a_directory_that_is_not_there_is_a_usage_error_with_its_path() {
    let dir = TempDir::new().unwrap();
    let error = load(&dir.path().join("nowhere")).unwrap_err();
    assert!(error.is_usage() && error.to_string().contains("nowhere"), "{error}");
}

const PIECES: &[&str] = &[
    "1",
    "a.b",
    "'x;y'",
    "'it''s; '",
    "E'\\';\\\\'",
    "E'a'\n'b\\';'",
    "e'' -- c;\n  '\\';'",
    "'a'\n'b;'",
    "\"q;\"\"\"",
    "$$;'$$",
    "$t$;$$;$t$",
    "$é1$;$é$;$é1$",
    "/* ; /* ' */ $$ */",
    "-- ; ' $$ \" /*\n",
    "(1; (2; ')') ; \")\")",
    "[1]",
    "U&'\\;'",
    "B'0'",
    "€$a$",
    "a$b$c",
    "1e5",
    "@-",
    "(CASE WHEN a THEN b END)",
    "CASE WHEN a THEN CASE b WHEN 1 THEN 2. END END",
];

proptest! {
    #[test]
    fn whatever_is_accepted_keeps_its_name_and_text(name in "[VUv][0-9]{0,3}_{1,3}[a-z_0-9-]{0,8}\\.sql", sql in ".*") {
        if let Ok(migration) = parse(&name, sql.as_bytes()) {
            let stem = name.strip_suffix(".sql").unwrap();
            let version: i32 = stem[1..].split('_').next().unwrap().parse().unwrap();
            prop_assert_eq!(migration.version(), version);
            let ending = format!("__{}", migration.name());
            prop_assert!(stem.ends_with(&ending));
            prop_assert_eq!(migration.sql(), sql);
        }
    }

    /// Pieces that are whole by themselves, whatever semicolons they hold, never end a statement.
    #[test]
    fn a_statement_of_whole_pieces_is_one(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 1..12),
        routine in any::<bool>(),
    ) {
        let body = pieces.join(" ");
        let sql = match routine {
            false => format!("SELECT {body};\nSELECT 9;\n"),
            true => format!(
                "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT {body}; SELECT CASE WHEN x THEN {body} END; END;\nSELECT 9;\n"
            ),
        };
        let found = statements(&sql);
        let (line, last) = found.last().unwrap();
        prop_assert_eq!((found.len(), last.as_str()), (2, "SELECT 9"), "{}: {:?}", sql, found);
        prop_assert_eq!(*line, sql.matches('\n').count());
        // A file ends where its last piece does: nothing that follows is swallowed.
        let file = parse("V1__a.sql", sql.as_bytes()).unwrap();
        prop_assert_eq!(file.statements().len(), 2);
    }

    #[test]
    fn no_text_makes_the_lexer_fall_over(sql in r#"([a-z;'"$\\/*\-é\n ]|BEGIN ATOMIC|END|COMMIT|\$\$|E'){0,40}"#) {
        drop(parse("V1__a.sql", sql.as_bytes()));
    }
}
