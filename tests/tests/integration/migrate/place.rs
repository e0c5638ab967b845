//! The history is looked for by its name in every schema: what was applied is never applied again.

use db::migrate::{self, Check, JoinOptions, Outcome, RunName, RunOptions, Target};
use db::migration::MigrationSet;
use db::tenant::{self, Verdict};
use db::{Error, Kind, Login, Migration};
use stack::Events;

use super::{applied, failure, tables};
use crate::db::{Database, file, spec};

fn counter() -> Vec<Migration> {
    vec![
        file("V1__counter.sql", "CREATE SCHEMA app;\nCREATE TABLE app.counter (n int);\n"),
        file("V2__count.sql", "INSERT INTO app.counter VALUES (100);\n"),
    ]
}

const COUNTED: &str = "SELECT count(*)::text FROM app.counter";
const HISTORIES: &str =
    "SELECT schemaname || ' ' || tablename FROM pg_tables WHERE tablename ~ 'refinery' ORDER BY 1";

impl Database {
    /// Runs the statement of the command that an error names, as `cargo xtask psql` does.
    async fn obey(&self, error: &Error) -> String {
        let text = error.to_string();
        let sql = text.rsplit("cargo xtask psql shop -- -c '").next().unwrap().split('\'').next().unwrap();
        self.as_owner("shop", sql).await;
        sql.to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_search_path_applies_nothing_again_and_every_task_says_so() {
    let db = Database::start().await;
    db.create(&[spec("shop")]).await;
    let (login, files, options) = (spec("shop").login(), counter(), RunOptions::default());
    db.migrate_with(&["shop"], &files, &options).await;
    db.as_owner("shop", "ALTER ROLE shop_app SET search_path = app").await;

    let targets = Target::all(std::slice::from_ref(&login), MigrationSet::flat(files.clone()));
    let set = &targets[0].set;
    let check_first = RunOptions { check: Check::AllFirst, ..RunOptions::default() };
    let events = Events::none();
    let reports = db.migrate_with(&["shop"], &files, &options).await;
    let checked = db.migrate_with(&["shop"], &files, &check_first).await;
    let run = RunName::parse("r").unwrap();
    let joined =
        migrate::join(&db.server, &db.admin, &run, &targets, &JoinOptions::default(), &events).await.unwrap();
    let refusals = [
        failure(&reports[0]).2.chain(),
        failure(&checked[0]).2.chain(),
        failure(&joined.reports[0]).2.chain(),
        migrate::plan_all(&db.server, &targets, &options).await.remove(0).unwrap_err().chain(),
        migrate::plan(&db.server, &login, set).await.unwrap_err().chain(),
        migrate::survey(&db.server, &login, set, &options).await.unwrap_err().chain(),
        migrate::repair(&db.server, &login, set, &[], &options, &events).await.unwrap_err().chain(),
        migrate::baseline(&db.server, &login, set, 2, &options, &events).await.unwrap_err().chain(),
    ];
    for refusal in &refusals {
        assert_eq!(
            *refusal,
            "the history of `shop` is not in one place: it is public.refinery_schema_history, and `search_path` now \
             leads to app: all of it would be applied again; take the change of `search_path` back, or run \
             `cargo xtask psql shop -- -c 'ALTER TABLE public.refinery_schema_history SET SCHEMA app'`"
        );
    }
    let verified = tenant::verify(&db.server, &db.admin, &[spec("shop")]).await.unwrap();
    let check = verified[0].checks.iter().find(|check| check.name == "history in one place").unwrap();
    assert!(check.verdict == Verdict::Fail && check.evidence == refusals[0], "{check:?}");
    assert_eq!(db.names(&login, COUNTED).await, ["1"]);
    assert_eq!(db.names(&login, HISTORIES).await, ["public refinery_schema_history"]);

    // The command that is named mends it.
    let error = migrate::plan(&db.server, &login, set).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Failed);
    db.obey(&error).await;
    let reports = db.migrate_with(&["shop"], &files, &options).await;
    assert!(matches!(reports[0].outcome, Outcome::UpToDate), "{reports:?}");
    let verified = tenant::verify(&db.server, &db.admin, &[spec("shop")]).await.unwrap();
    let check = verified[0].checks.iter().find(|check| check.name == "history in one place").unwrap();
    assert_eq!(check.evidence, "2 migrations in `app.refinery_schema_history`");

    // No schema of the path is there.
    db.as_owner("shop", "ALTER ROLE shop_app SET search_path = nowhere").await;
    let reports = db.migrate_with(&["shop"], &files, &options).await;
    let (_, _, error) = failure(&reports[0]);
    assert!(error.to_string().contains("`search_path` now names no schema that is there"), "{error}");
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_histories_are_refused_wherever_search_path_leads() {
    let db = Database::start().await;
    db.create(&[spec("shop")]).await;
    let (files, options) = (counter(), RunOptions::default());
    db.migrate_with(&["shop"], &files, &options).await;
    db.as_owner("shop", "CREATE TABLE app.refinery_schema_history (LIKE refinery_schema_history)").await;
    for (path, leads) in [
        ("public", "`search_path` leads to public.refinery_schema_history"),
        ("app", "`search_path` leads to app.refinery_schema_history"),
        ("pg_catalog", "`search_path` leads to none of them"),
    ] {
        db.as_owner("shop", &format!("ALTER ROLE shop_app SET search_path = {path}")).await;
        let reports = db.migrate_with(&["shop"], &files, &options).await;
        let (_, _, error) = failure(&reports[0]);
        assert!(matches!(error, Error::Misplaced { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(leads) && text.contains("public.refinery_schema_history"), "{text}");
        assert!(text.contains("-c 'TABLE app.refinery_schema_history'"), "{text}");
    }
    db.as_owner("shop", "ALTER ROLE shop_app RESET search_path").await;
    let reports = db.migrate_with(&["shop"], &files, &options).await;
    let sql = db.obey(failure(&reports[0]).2).await;
    assert_eq!(sql, "DROP TABLE app.refinery_schema_history");
    let reports = db.migrate_with(&["shop"], &files, &options).await;
    assert!(matches!(reports[0].outcome, Outcome::UpToDate), "{reports:?}");
    assert_eq!(db.names(&spec("shop").login(), COUNTED).await, ["1"]);
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_looks_like_a_second_history_is_no_reason_to_refuse() {
    let db = Database::start().await;
    db.create(&[spec("shop"), spec("odd")]).await;
    let (files, options) = (tables(2), RunOptions::default());
    db.migrate_with(&["shop"], &files[..1], &options).await;
    // A schema that is in front and has no such table; a history of another set; another table's index.
    let beside = "CREATE SCHEMA shop_app; CREATE TABLE shop_app.refinery_schema_history_old (id int);
                  CREATE SCHEMA other; CREATE TABLE other.t (id int);
                  CREATE INDEX refinery_schema_history ON other.t (id);
                  CREATE VIEW shop_app.other AS SELECT 1";
    db.as_owner("shop", beside).await;
    let reports = db.migrate_with(&["shop"], &files, &options).await;
    assert_eq!(applied(&reports[0]), ["V2__t2"]);
    // A view on the table where it is now.
    let moved = "CREATE SCHEMA infra; ALTER TABLE public.refinery_schema_history SET SCHEMA infra;
                 CREATE VIEW public.refinery_schema_history AS TABLE infra.refinery_schema_history";
    db.as_owner("shop", moved).await;
    let reports = db.migrate_with(&["shop"], &tables(3), &options).await;
    assert_eq!(applied(&reports[0]), ["V3__t3"]);

    // Names that need their quotes.
    let odd = "CREATE SCHEMA \"we ird\"; ALTER ROLE odd_app SET search_path = \"we ird\"";
    db.migrate_with(&["odd"], &files[..1], &options).await;
    db.as_owner("odd", odd).await;
    let login: Login = spec("odd").login();
    let refused = migrate::plan(&db.server, &login, &MigrationSet::flat(files.clone())).await.unwrap_err();
    let mend = "ALTER TABLE public.refinery_schema_history SET SCHEMA \"we ird\"";
    assert!(refused.to_string().contains(mend), "{refused}");
    db.as_owner("odd", mend).await;
    assert_eq!(applied(&db.migrate_with(&["odd"], &files, &options).await[0]), ["V2__t2"]);
    db.stop().await;
}
