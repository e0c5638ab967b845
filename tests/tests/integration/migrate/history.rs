//! Histories that are broken, late, absent or changed.

use db::migrate::{self, OutOfOrder, Outcome, RunOptions, Target};
use db::migration::MigrationSet;
use db::{Error, Kind};
use stack::Events;

use super::{HISTORY, applied, failure, tables};
use crate::db::{Database, file, spec};

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_with_a_broken_history_fails_alone() {
    let db = Database::start().await;
    let tenants = [spec("shop"), spec("health"), spec("games")];
    db.create(&tenants).await;
    let mut migrations = vec![file("V1__a.sql", "SELECT 1;\n")];
    db.migrate(&tenants, &migrations).await;
    for (tenant, sql) in [
        (&tenants[0], "UPDATE refinery_schema_history SET checksum = 'x'"),
        // Its shape is right, its value makes refinery panic.
        (&tenants[1], "UPDATE refinery_schema_history SET applied_on = '2026-99-99T00:00:00Z'"),
    ] {
        let session = db.connect(&tenant.login()).await;
        session.client().batch_execute(sql).await.unwrap();
        session.close().await;
    }
    migrations.push(file("V2__b.sql", "SELECT 2;\n"));
    let reports = db.migrate(&tenants, &migrations).await;
    let names: Vec<&str> = reports.iter().map(|report| report.tenant.as_str()).collect();
    assert_eq!(names, ["shop", "health", "games"]);
    for (report, reason) in reports.iter().zip(["checksum `x`", "date `2026-99-99T00:00:00Z`"]) {
        let Outcome::Failed { error, .. } = &report.outcome else { panic!("{report:?}") };
        assert!(error.to_string().contains(reason), "{error}");
    }
    assert!(matches!(reports[2].outcome, Outcome::Applied { .. }), "{:?}", reports[2]);
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changed_after_it_was_applied_stops_the_tenant() {
    let db = Database::start().await;
    let tenants = [spec("shop")];
    db.create(&tenants).await;
    db.migrate(&tenants, &[file("V1__a.sql", "SELECT 1;\n"), file("V3__c.sql", "SELECT 3;\n")]).await;
    let changed = [file("V1__a.sql", "SELECT 10;\n"), file("V2__b.sql", "SELECT 2;\n")];
    let reports = db.migrate(&tenants, &changed).await;
    let Outcome::Failed { error, .. } = &reports[0].outcome else { panic!("{reports:?}") };
    for part in ["`V1__a` was changed", "`V3__c` was applied and has no file", "`V2__b` is older"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_file_is_applied_only_if_that_is_asked_for() {
    let db = Database::start().await;
    db.create(&[spec("shop")]).await;
    let files = tables(3);
    let early = [files[0].clone(), files[2].clone()];
    db.migrate_with(&["shop"], &early, &RunOptions::default()).await;
    let reports = db.migrate_with(&["shop"], &files, &RunOptions::default()).await;
    let (_, _, error) = failure(&reports[0]);
    assert!(error.to_string().contains("`V2__t2` is older than what was applied already"), "{error}");
    let options = RunOptions { late: OutOfOrder::Apply, ..RunOptions::default() };
    let reports = db.migrate_with(&["shop"], &files, &options).await;
    assert_eq!(applied(&reports[0]), ["V2__t2"]);
    let reports = db.migrate_with(&["shop"], &files, &RunOptions::default()).await;
    assert!(matches!(reports[0].outcome, Outcome::UpToDate), "{reports:?}");
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_from_before_begins_with_a_baseline() {
    let db = Database::start().await;
    db.create(&[spec("shop")]).await;
    db.as_owner("shop", "CREATE TABLE t1 (id int); CREATE TABLE t2 (id int)").await;
    let (files, login, options) = (tables(3), spec("shop").login(), RunOptions::default());
    let set = MigrationSet::flat(files.clone());
    let baseline =
        async |version| migrate::baseline(&db.server, &login, &set, version, &options, &Events::none()).await;
    let none = baseline(9).await.unwrap_err();
    assert!(none.is_usage() && none.to_string().contains("there is no migration V9"), "{none}");
    assert_eq!(baseline(2).await.unwrap(), ["V1__t1", "V2__t2"]);
    let again = baseline(2).await.unwrap_err();
    assert!(again.to_string().contains("its history holds 2 migrations"), "{again}");
    let reports = db.migrate_with(&["shop"], &files, &options).await;
    assert_eq!(applied(&reports[0]), ["V3__t3"]);
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checksum_is_repaired_once_its_difference_was_seen() {
    let db = Database::start().await;
    db.create(&[spec("shop")]).await;
    let (login, options) = (spec("shop").login(), RunOptions::default());
    db.migrate_with(&["shop"], &tables(2), &options).await;
    let mut files = tables(2);
    files[1] = file("V2__renamed.sql", "CREATE TABLE t2 (id int); -- says more\n");
    let differences = async |set: &MigrationSet| {
        migrate::survey(&db.server, &login, set, &options).await.unwrap().differences
    };
    let set = MigrationSet::flat(files.clone());
    let seen = differences(&set).await;
    assert_eq!((seen.len(), seen[0].applied.as_str(), seen[0].file.as_str()), (1, "V2__t2", "V2__renamed"));

    // What was seen of other files is no leave for these.
    let mut stale = seen.clone();
    stale[0].file_checksum += 1;
    let repair = async |seen: &[migrate::Difference]| {
        migrate::repair(&db.server, &login, &set, seen, &options, &Events::none()).await
    };
    let refused = repair(&stale).await.unwrap_err();
    assert!(matches!(refused, Error::Unfit { .. }), "{refused}");
    repair(&seen).await.unwrap();
    assert!(differences(&set).await.is_empty());
    assert_eq!(db.names(&login, HISTORY).await, ["1 t1", "2 renamed"]);
    let reports = db.migrate_with(&["shop"], &files, &options).await;
    assert!(matches!(reports[0].outcome, Outcome::UpToDate), "{reports:?}");
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_not_record_anything_is_told_before_anything_is_written() {
    let db = Database::start().await;
    db.create(&[spec("shop")]).await;
    db.as_owner("shop", "REVOKE CREATE ON SCHEMA public FROM pg_database_owner").await;
    let reports = db.migrate_with(&["shop"], &tables(1), &RunOptions::default()).await;
    let (_, _, error) = failure(&reports[0]);
    assert_eq!(error.kind(), Kind::Permission);
    assert_eq!(
        error.to_string(),
        "role `shop_app` cannot migrate tenant `shop`: it lacks CREATE on SCHEMA public; \
         run `GRANT CREATE ON SCHEMA public TO shop_app` as the owner"
    );
    let targets = Target::all(&[spec("shop").login()], MigrationSet::flat(tables(1)));
    let plans = migrate::plan_all(&db.server, &targets, &RunOptions::default()).await;
    assert_eq!(plans[0].as_ref().unwrap().pending, ["V1__t1"]);
    db.stop().await;
}
