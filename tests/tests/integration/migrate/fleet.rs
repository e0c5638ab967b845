//! Many tenants: at once, in waves, in part, and stopped.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use db::migrate::{self, Check, Outcome, RunOptions, SkipReason, Stop, TenantReport};
use db::migration::MigrationSet;
use db::{BoxStream, Dial, Login, Server, TenantSpec};
use futures_util::future::BoxFuture;
use stack::Events;
use stack::spec::{OnError, Wave};
use tokio::task::JoinSet;

use super::{HISTORY, HOLDING, TABLES, WAITING, applied, failure, tables};
use crate::db::{Database, file, shipped, spec};

#[tokio::test(flavor = "multi_thread")]
async fn eight_runs_at_once_apply_every_migration_once_five_times_over() {
    let db = Database::start().await;
    db.create(&[spec("shop")]).await;
    let files = tables(5);
    for round in 1..=files.len() {
        let mut runs = JoinSet::new();
        for _ in 0..8 {
            let (server, files) = (db.server.clone(), files[..round].to_vec());
            runs.spawn(async move {
                let logins = [spec("shop").login()];
                migrate::run(&server, &logins, &files, &RunOptions::default(), &Events::none())
                    .await
                    .remove(0)
            });
        }
        let reports = runs.join_all().await;
        let once = reports.iter().filter(|report| matches!(report.outcome, Outcome::Applied { .. })).count();
        let idle = reports.iter().filter(|report| matches!(report.outcome, Outcome::UpToDate)).count();
        assert_eq!((once, idle), (1, 7), "{reports:#?}");
    }
    assert_eq!(db.names(&spec("shop").login(), HISTORY).await.len(), 5);
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_at_once_apply_every_migration_once() {
    let db = Database::start().await;
    let tenants = [spec("shop"), spec("health")];
    db.create(&tenants).await;
    let migrations = shipped();
    let plan = migrate::plan(&db.server, &tenants[0].login(), &MigrationSet::flat(migrations.clone()))
        .await
        .unwrap();
    assert_eq!((plan.applied.len(), plan.pending.len()), (0, migrations.len()));
    // Looking leaves no trace.
    let tables = "SELECT tableowner::text FROM pg_tables WHERE schemaname = 'public'";
    assert!(db.names(&tenants[0].login(), tables).await.is_empty());

    let mut runs = JoinSet::new();
    for _ in 0..6 {
        let (server, migrations) = (db.server.clone(), migrations.clone());
        let logins: Vec<Login> = tenants.iter().map(TenantSpec::login).collect();
        runs.spawn(async move {
            migrate::run(&server, &logins, &migrations, &RunOptions::default(), &Events::none()).await
        });
    }
    let reports: Vec<TenantReport> = runs.join_all().await.into_iter().flatten().collect();
    let applied = |report: &&TenantReport| matches!(&report.outcome, Outcome::Applied { migrations: done } if done.len() == migrations.len());
    let idle = |report: &&TenantReport| matches!(report.outcome, Outcome::UpToDate);
    assert_eq!(reports.iter().filter(applied).count(), 2, "{reports:#?}");
    assert_eq!(reports.iter().filter(idle).count(), 10, "{reports:#?}");

    let owners = db.names(&tenants[0].login(), tables).await;
    assert!(!owners.is_empty() && owners.iter().all(|owner| owner == "shop_app"), "{owners:?}");
    let plan = migrate::plan(&db.server, &tenants[0].login(), &MigrationSet::flat(migrations.clone()))
        .await
        .unwrap();
    assert!(plan.is_up_to_date() && plan.applied.len() == migrations.len(), "{plan:?}");
    db.stop().await;
}

/// Falls over.
struct Falling;

impl Dial for Falling {
    fn dial(&self) -> BoxFuture<'_, io::Result<BoxStream>> {
        panic!("the tunnel has a bug")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_the_tenants_own() {
    let db = Database::start().await;
    db.create(&[spec("shop")]).await;
    let server = Server { dial: Arc::new(Falling), ..db.server.clone() };
    let logins = [spec("shop").login(), spec("health").login()];
    let reports = migrate::run(&server, &logins, &tables(1), &RunOptions::default(), &Events::none()).await;
    assert_eq!(reports.len(), 2);
    for report in &reports {
        let (_, _, error) = failure(report);
        assert!(error.to_string().contains("broke off: the tunnel has a bug"), "{error}");
    }
    db.stop().await;
}

const NAMES: [&str; 4] = ["one", "two", "three", "four"];

impl Database {
    /// Makes four tenants; the first cannot be migrated.
    async fn create_four(&self) {
        self.create(&NAMES.map(spec)).await;
        self.as_owner("one", "CREATE TABLE t1 (id text)").await;
    }
}

fn withheld(reports: &[TenantReport], reason: SkipReason) -> usize {
    let is = |report: &&TenantReport| matches!(report.outcome, Outcome::NotStarted { reason: why } if why == reason);
    reports.iter().filter(is).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wave_that_costs_more_than_the_budget_is_the_last() {
    let db = Database::start().await;
    db.create_four().await;
    let labels = [vec!["canary".to_owned()], vec![], vec![], vec![]];
    let waves = [Wave::Label("canary".to_owned()), Wave::Share(50), Wave::Rest];
    let mut options = RunOptions { waves: migrate::assign_waves(&waves, &labels), ..RunOptions::default() };
    let reports = db.migrate_with(&NAMES, &tables(1), &options).await;
    failure(&reports[0]);
    assert_eq!(withheld(&reports, SkipReason::ErrorBudget), 3, "{reports:#?}");
    assert!(db.names(&spec("two").login(), TABLES).await.is_empty());

    options.error_budget = 1;
    let reports = db.migrate_with(&NAMES, &tables(1), &options).await;
    failure(&reports[0]);
    assert!(reports[1..].iter().all(|report| applied(report) == ["V1__t1"]), "{reports:#?}");
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_to_stop_on_errors_begins_with_no_other_tenant() {
    let db = Database::start().await;
    db.create_four().await;
    let options = RunOptions { jobs: 1, on_error: OnError::Stop, ..RunOptions::default() };
    let reports = db.migrate_with(&NAMES, &tables(1), &options).await;
    failure(&reports[0]);
    assert_eq!(withheld(&reports, SkipReason::ErrorBudget), 3, "{reports:#?}");

    let options = RunOptions { jobs: 1, ..RunOptions::default() };
    let reports = db.migrate_with(&NAMES, &tables(1), &options).await;
    failure(&reports[0]);
    assert!(reports[1..].iter().all(|report| applied(report) == ["V1__t1"]), "{reports:#?}");
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_written_to_while_one_cannot_be_migrated() {
    let db = Database::start().await;
    db.create(&NAMES.map(spec)).await;
    let old = file("V1__t1.sql", "CREATE TABLE t1 (id text);\n");
    db.migrate_with(&["two"], &[old], &RunOptions::default()).await;
    // With fewer jobs than tenants the connections of the check are closed, else they are kept.
    for jobs in [2, 4] {
        let options = RunOptions { jobs, check: Check::AllFirst, ..RunOptions::default() };
        let reports = db.migrate_with(&NAMES, &tables(1), &options).await;
        let (_, _, error) = failure(&reports[1]);
        assert!(error.to_string().contains("`V1__t1` was changed after it was applied"), "{error}");
        assert_eq!(withheld(&reports, SkipReason::Check), 3, "{reports:#?}");
        assert!(db.names(&spec("one").login(), TABLES).await.is_empty());
    }
    for (jobs, count) in [(2, 1), (4, 2)] {
        let options = RunOptions { jobs, check: Check::AllFirst, ..RunOptions::default() };
        let reports = db.migrate_with(&["one", "three", "four"], &tables(count), &options).await;
        assert!(reports.iter().all(|report| applied(report).len() == 1), "{reports:#?}");
    }
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_stopped_rolls_back_what_is_in_flight_and_says_who_is_where() {
    let db = Database::start().await;
    db.create(&NAMES.map(spec)).await;
    let holder = db.hold("two", HOLDING).await;
    let files = [file("V1__waiting.sql", WAITING)];
    let stop = Stop::new();
    let options = RunOptions { jobs: 1, stop: stop.clone(), grace: Duration::ZERO, ..RunOptions::default() };
    let stopping = async {
        db.wait_until_blocked("two", 1).await;
        stop.raise();
    };
    let (reports, ()) = tokio::join!(db.migrate_with(&NAMES, &files, &options), stopping);
    assert_eq!(applied(&reports[0]), ["V1__waiting"]);
    let Outcome::Interrupted { applied: done, state } = &reports[1].outcome else { panic!("{reports:#?}") };
    assert_eq!((done.len(), state.as_str()), (0, "what was in flight is rolled back"));
    assert_eq!(withheld(&reports, SkipReason::Interrupted), 2, "{reports:#?}");
    assert!(db.names(&spec("two").login(), TABLES).await.is_empty());

    // The same again goes on from there.
    holder.close().await;
    let reports = db.migrate_with(&NAMES, &files, &RunOptions::default()).await;
    assert!(matches!(reports[0].outcome, Outcome::UpToDate), "{reports:#?}");
    assert!(reports[1..].iter().all(|report| applied(report) == ["V1__waiting"]), "{reports:#?}");
    assert_eq!(db.names(&spec("two").login(), HISTORY).await, ["1 waiting"]);
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_flight_may_end_while_the_run_stops() {
    let db = Database::start().await;
    db.create(&[spec("one")]).await;
    let holder = db.hold("one", HOLDING).await;
    let (stop, grace) = (Stop::new(), Duration::from_secs(600));
    let options = RunOptions { stop: stop.clone(), grace, ..RunOptions::default() };
    let stopping = async {
        db.wait_until_blocked("one", 1).await;
        stop.raise();
        holder.close().await;
    };
    let files = [file("V1__waiting.sql", WAITING)];
    let (reports, ()) = tokio::join!(db.migrate_with(&["one"], &files, &options), stopping);
    assert_eq!(applied(&reports[0]), ["V1__waiting"]);
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_tenants_at_a_time_as_the_server_has_room_for() {
    let db = Database::start().await;
    let jobs = migrate::find_jobs(&db.server, &db.admin).await.unwrap();
    assert!((1..=32).contains(&jobs), "{jobs}");
    db.stop().await;
}
