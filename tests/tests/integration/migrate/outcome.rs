//! An outcome is what we did: an SQLSTATE says what the server did, and any file may raise any of them.

use std::time::Duration;

use db::migrate::{self, JoinOptions, Outcome, RunName, RunOptions, Stop, Target};
use db::migration::MigrationSet;
use db::{Kind, Migration};
use stack::Events;

use super::{HOLDING, TABLES, WAITING, failure, tables, trying, waits};
use crate::db::{Database, file, spec};

impl Database {
    /// Waits until so many sessions of the tenant's sleep.
    async fn wait_until_asleep(&self, name: &str, sessions: i64) {
        let sql = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}' AND wait_event = 'PgSleep'"
        );
        let session = self.connect(&self.admin).await;
        while session.client().query_one(&sql, &[]).await.unwrap().get::<_, i64>(0) != sessions {}
        session.close().await;
    }

    async fn join_one(&self, run: &str, files: &[Migration], options: &JoinOptions) -> migrate::TenantReport {
        let targets = Target::all(&[spec("shop").login()], MigrationSet::flat(files.to_vec()));
        let (run, events) = (RunName::parse(run).unwrap(), Events::none());
        let joined = migrate::join(&self.server, &self.admin, &run, &targets, options, &events);
        joined.await.unwrap().reports.remove(0)
    }
}

const RAISE: &str =
    "CREATE TABLE half (id int);\n\nDO $$ BEGIN RAISE EXCEPTION 'by hand' USING ERRCODE = '57014'; END $$;\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_timeout_is_a_failure_with_its_line_and_is_not_taken_again_by_any_runner() {
    let db = Database::start().await;
    db.create(&[spec("shop")]).await;
    db.as_owner("shop", "CREATE TABLE hot (id int); ALTER ROLE shop_app SET statement_timeout = '2s'").await;
    let sleeps = "CREATE TABLE half (id int);\nSELECT pg_sleep(600);\nALTER TABLE hot ADD x int;\n";
    let bare = format!(
        "-- drawbridge: no-transaction\n{}",
        sleeps.replace("CREATE TABLE half (id int);", "SELECT 1;")
    );
    for (sql, line, cause) in
        [(sleeps, 2, "statement timeout"), (RAISE, 3, "by hand"), (&bare, 3, "statement timeout")]
    {
        let files = [file("V1__first.sql", "SELECT 1;\n"), file("V2__slow.sql", sql)];
        let reports = db.migrate_with(&["shop"], &files, &trying(3)).await;
        let (_, migration, error) = failure(&reports[0]);
        assert_eq!((migration, error.sqlstate()), (Some("V2__slow"), Some("57014")), "{error}");
        let text = error.chain();
        assert!(text.contains(&format!("in line {line}")) && text.contains(cause), "{text}");
        let run = format!("run-{line}-{}", cause.len() + sql.len());
        let report = db.join_one(&run, &files, &JoinOptions::default()).await;
        let (_, migration, error) = failure(&report);
        assert_eq!(migration, Some("V2__slow"));
        assert!(error.chain().contains(&format!("in line {line}")), "{error}");
        let taken = format!("SELECT state || ' ' || attempts FROM drawbridge.run_tenant WHERE run = '{run}'");
        assert_eq!(db.names(&db.admin, &taken).await, ["failed 1"]);
        assert!(!db.names(&spec("shop").login(), TABLES).await.contains(&"half".to_owned()));
    }
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_cancellation_is_a_failure_even_while_the_run_stops() {
    let db = Database::start().await;
    db.create(&[spec("shop")]).await;
    let cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE datname = current_database()
                  AND wait_event_type = 'Lock'";
    for is_stopping in [false, true] {
        let holder = db.hold("shop", HOLDING).await;
        let stop = Stop::new();
        let options =
            RunOptions { stop: stop.clone(), grace: Duration::from_secs(600), ..RunOptions::default() };
        let cancelling = async {
            db.wait_until_blocked("shop", 1).await;
            if is_stopping {
                stop.raise();
            }
            holder.client().query(cancel, &[]).await.unwrap();
        };
        let files = [file("V1__waiting.sql", WAITING)];
        let (reports, ()) = tokio::join!(db.migrate_with(&["shop"], &files, &options), cancelling);
        let (_, migration, error) = failure(&reports[0]);
        assert_eq!((migration, error.sqlstate()), (Some("V1__waiting"), Some("57014")), "{is_stopping}");
        assert!(error.chain().contains("due to user request"), "{}", error.chain());
        holder.close().await;
    }
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_catches_our_cancellation_was_interrupted_all_the_same() {
    let db = Database::start().await;
    db.create(&[spec("shop")]).await;
    let sql = "CREATE TABLE half (id int);\nDO $$ BEGIN PERFORM pg_sleep(600);\n\
               EXCEPTION WHEN query_canceled THEN RAISE EXCEPTION 'caught'; END $$;\n";
    let stop = Stop::new();
    let options = RunOptions { stop: stop.clone(), grace: Duration::ZERO, ..RunOptions::default() };
    let stopping = async {
        db.wait_until_asleep("shop", 1).await;
        stop.raise();
    };
    let files = [file("V1__catches.sql", sql)];
    let (reports, ()) = tokio::join!(db.migrate_with(&["shop"], &files, &options), stopping);
    let Outcome::Interrupted { applied: done, state } = &reports[0].outcome else { panic!("{reports:?}") };
    assert!(done.is_empty() && state.starts_with("what was in flight is rolled back"), "{state}");
    assert!(state.contains("caught"), "{state}");
    assert!(db.names(&spec("shop").login(), TABLES).await.is_empty());
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_in_a_transaction_says_what_it_left_when_it_is_cancelled() {
    let db = Database::start().await;
    db.create(&[spec("shop")]).await;
    let sql = "-- drawbridge: no-transaction\nCREATE TABLE half (id int);\nSELECT pg_sleep(600);\n";
    let stop = Stop::new();
    let run = RunOptions { stop: stop.clone(), grace: Duration::ZERO, ..RunOptions::default() };
    let options = JoinOptions { run, ..JoinOptions::default() };
    let stopping = async {
        db.wait_until_asleep("shop", 1).await;
        stop.raise();
    };
    let files = [file("V1__bare.sql", sql)];
    let (report, ()) = tokio::join!(db.join_one("r", &files, &options), stopping);
    let (_, migration, error) = failure(&report);
    assert_eq!(migration, Some("V1__bare"));
    assert!(
        error.to_string().contains("stopped in line 3") && error.to_string().contains("stays"),
        "{error}"
    );
    // It is given to nobody else: begun again, it would do all of it twice.
    let state = "SELECT state FROM drawbridge.run_tenant";
    assert_eq!(db.names(&db.admin, state).await, ["failed"]);
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_a_file_raises_with_a_lost_connections_code_is_the_files() {
    let db = Database::start().await;
    db.create(&[spec("shop")]).await;
    for code in ["57P01", "08006", "57P03", "25P03", "28P01", "22012"] {
        let sql =
            format!("SELECT 1;\nDO $$ BEGIN RAISE EXCEPTION 'by hand' USING ERRCODE = '{code}'; END $$;\n");
        let (events, told) = waits();
        let (logins, files) = ([spec("shop").login()], [file("V1__raises.sql", &sql)]);
        let reports = migrate::run(&db.server, &logins, &files, &trying(3), &events).await;
        let (_, migration, error) = failure(&reports[0]);
        assert_eq!((migration, error.sqlstate()), (Some("V1__raises"), Some(code)));
        assert!(error.to_string().contains("in line 2"), "{error}");
        assert_ne!(error.kind(), Kind::Unreachable, "{code}");
        assert!(told.lock().unwrap().is_empty(), "{code}: {told:?}");
    }
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_no_runner_brings_to_its_end_is_given_up_with_the_last_reason() {
    let db = Database::start().await;
    db.create(&[spec("shop")]).await;
    let holder = db.hold("shop", HOLDING).await;
    let files = [file("V1__waiting.sql", WAITING)];
    for _ in 0..2 {
        let stop = Stop::new();
        let run = RunOptions { stop: stop.clone(), grace: Duration::ZERO, ..RunOptions::default() };
        let options = JoinOptions { run, tries: 2, ..JoinOptions::default() };
        let stopping = async {
            db.wait_until_blocked("shop", 1).await;
            stop.raise();
        };
        let (report, ()) = tokio::join!(db.join_one("given-back", &files, &options), stopping);
        assert!(matches!(report.outcome, Outcome::Interrupted { .. }), "{report:?}");
    }
    let options = JoinOptions { tries: 2, ..JoinOptions::default() };
    let report = db.join_one("given-back", &files, &options).await;
    let (_, _, error) = failure(&report);
    let text = error.chain();
    assert!(text.starts_with("given up after 2 tries in this run: runner `runner-"), "{text}");
    assert!(text.ends_with("gave it back: what was in flight is rolled back"), "{text}");
    holder.close().await;

    // Runners that died: another run, of which the last one was never heard of again.
    db.join_one("dead", &files, &options).await;
    db.as_master(
        "UPDATE drawbridge.run_tenant SET state = 'taken', runner = 'ghost', attempts = 2, report = NULL,
         lease_until = now() - interval '1 second' WHERE run = 'dead'",
    )
    .await;
    let report = db.join_one("dead", &files, &options).await;
    let (_, _, error) = failure(&report);
    let text = error.chain();
    assert!(text.contains("runner `ghost` had it last and was not heard of again"), "{text}");
    // A new run tries again.
    let report = db.join_one("anew", &tables(1), &options).await;
    assert!(failure(&report).2.to_string().contains("does not fit the files"), "{report:?}");
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lock_of_an_attempt_that_failed_is_free_for_the_next() {
    let db = Database::start().await;
    db.create(&[spec("shop")]).await;
    // A backend drops its temporary tables when it ends, and lets go of its locks after that.
    let slow = "-- drawbridge: own-transaction\n\
                DO $$ BEGIN FOR n IN 1..2000 LOOP EXECUTE format('CREATE TEMP TABLE t%s ()', n); END LOOP; END $$;\n";
    let fails = "DO $$ BEGIN RAISE EXCEPTION 'too bad' USING ERRCODE = 'deadlock_detected'; END $$;\n";
    let (events, told) = waits();
    let logins = [spec("shop").login()];
    let files = [file("V1__slow.sql", slow), file("V2__fails.sql", fails)];
    let reports = migrate::run(&db.server, &logins, &files, &trying(2), &events).await;
    let (done, migration, _) = failure(&reports[0]);
    assert_eq!((done, migration), (&["V1__slow".to_owned()][..], Some("V2__fails")));
    // Nobody else is there: whatever held the lock would be the attempt before.
    let told = told.lock().unwrap().clone();
    assert!(told.len() == 1 && told[0].starts_with("a deadlock; attempt 2 of 2"), "{told:#?}");
    db.stop().await;
}
