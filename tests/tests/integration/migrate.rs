//! The migration engine on a real PostgreSQL 16 behind TLS.

#![expect(clippy::unwrap_used, reason = "a test that cannot prepare itself has failed")]

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use db::migrate::{self, Outcome, RunOptions, TenantReport};
use db::{BoxStream, ConnectOptions, Dial, Error, Kind, Login, Migration, Server, TenantSpec, connect, lock};
use futures_util::future::BoxFuture;
use stack::{Event, Events};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinSet;

use crate::db::{Database, file, shipped, spec};

const HISTORY: &str = "SELECT version || ' ' || name FROM refinery_schema_history ORDER BY version";
const TABLES: &str = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' ORDER BY 1";

/// Returns `V1__t1.sql` .. that make a table each.
fn tables(count: usize) -> Vec<Migration> {
    (1..=count).map(|n| file(&format!("V{n}__t{n}.sql"), &format!("CREATE TABLE t{n} (id int);\n"))).collect()
}

fn applied(report: &TenantReport) -> &[String] {
    match &report.outcome {
        Outcome::Applied { migrations } => migrations,
        Outcome::UpToDate
        | Outcome::Failed { .. }
        | Outcome::Interrupted { .. }
        | Outcome::NotStarted { .. } => {
            panic!("not applied: {report:?}")
        }
    }
}

fn failure(report: &TenantReport) -> (&[String], Option<&str>, &Error) {
    match &report.outcome {
        Outcome::Failed { applied, migration, error } => (applied, migration.as_deref(), error),
        Outcome::UpToDate
        | Outcome::Applied { .. }
        | Outcome::Interrupted { .. }
        | Outcome::NotStarted { .. } => {
            panic!("not failed: {report:?}")
        }
    }
}

/// Collects what steps wait for.
fn waits() -> (Events, Arc<Mutex<Vec<String>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&told);
    let events = Events::new(move |event| {
        if let Event::StepWaiting { status, .. } = event {
            sink.lock().unwrap().push(status);
        }
    });
    (events, told)
}

impl Database {
    async fn migrate_with(
        &self,
        names: &[&str],
        migrations: &[Migration],
        options: &RunOptions,
    ) -> Vec<TenantReport> {
        let logins: Vec<Login> = names.iter().map(|name| spec(name).login()).collect();
        migrate::run(&self.server, &logins, migrations, options, &Events::none()).await
    }

    async fn as_owner(&self, name: &str, sql: &str) {
        let session = self.connect(&spec(name).login()).await;
        session.client().batch_execute(sql).await.unwrap();
        session.close().await;
    }
}

/// Counts how often the client speaks after it has listened: round trips.
struct Counting {
    server: Server,
    flights: Arc<AtomicUsize>,
}

impl Dial for Counting {
    fn dial(&self) -> BoxFuture<'_, io::Result<BoxStream>> {
        Box::pin(async {
            let stream = self.server.dial.dial().await?;
            Ok(BoxStream::new(Counted { stream, has_listened: true, flights: Arc::clone(&self.flights) }))
        })
    }
}

struct Counted {
    stream: BoxStream,
    has_listened: bool,
    flights: Arc<AtomicUsize>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.has_listened |= buf.filled().len() > before;
        read
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.has_listened {
            self.has_listened = false;
            self.flights.fetch_add(1, Ordering::Relaxed);
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

// One thread: whatever is sent together is queued before anything else may run.
#[tokio::test(flavor = "current_thread")]
async fn a_tenant_costs_two_round_trips_and_one_that_is_up_to_date_costs_one() {
    let db = Database::start().await;
    db.create(&[spec("shop")]).await;
    let flights = Arc::new(AtomicUsize::new(0));
    let dial = Arc::new(Counting { server: db.server.clone(), flights: Arc::clone(&flights) });
    let server = Server { dial, ..db.server.clone() };
    let login = spec("shop").login();
    connect(&server, &login, &ConnectOptions::default()).await.unwrap().close().await;
    let connecting = flights.swap(0, Ordering::Relaxed);

    let run = async |migrations: &[Migration]| {
        let logins = std::slice::from_ref(&login);
        let report = migrate::run(&server, logins, migrations, &RunOptions::default(), &Events::none())
            .await
            .remove(0);
        (report, flights.swap(0, Ordering::Relaxed) - connecting)
    };
    let files = tables(21);
    let (report, trips) = run(&files[..20]).await;
    assert_eq!((applied(&report).len(), trips), (20, 2));
    let (report, trips) = run(&files[..20]).await;
    assert!(matches!(report.outcome, Outcome::UpToDate), "{report:?}");
    assert_eq!(trips, 1);
    let (report, trips) = run(&files).await;
    assert_eq!((applied(&report).len(), trips), (1, 2));
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_seventh_of_ten_fails_and_leaves_none_or_six_as_its_file_says() {
    let db = Database::start().await;
    db.create(&[spec("shop"), spec("health")]).await;
    let bad = "CREATE TABLE half (id int UNIQUE);\n\nINSERT INTO half\nVALUES (1), (1);\n";
    let mut files = tables(10);
    files[6] = file("V7__bad.sql", bad);
    let reports = db.migrate_with(&["shop"], &files, &RunOptions::default()).await;
    let (done, migration, error) = failure(&reports[0]);
    assert_eq!((done.len(), migration), (0, Some("V7__bad")));
    // PostgreSQL tells no position here: the statement's number does.
    assert_eq!(
        error.chain(),
        "migration `V7__bad` of tenant `shop` failed in line 3: ERROR: duplicate key value violates unique \
         constraint \"half_id_key\" (SQLSTATE 23505); detail: Key (id)=(1) already exists."
    );
    assert!(db.names(&spec("shop").login(), TABLES).await.is_empty());

    files[6] = file("V7__bad.sql", &format!("-- drawbridge: own-transaction\n{bad}"));
    let reports = db.migrate_with(&["health"], &files, &RunOptions::default()).await;
    let (done, migration, error) = failure(&reports[0]);
    assert_eq!((done.len(), migration), (6, Some("V7__bad")));
    assert!(error.to_string().contains("in line 4"), "{error}");
    let login = spec("health").login();
    assert_eq!(db.names(&login, TABLES).await.len(), 7);
    assert_eq!(db.names(&login, HISTORY).await.last().unwrap(), "6 t6");

    // The next run goes on from there.
    files[6] = file("V7__bad.sql", "CREATE TABLE t7 (id int);\n");
    let reports = db.migrate_with(&["shop", "health"], &files, &RunOptions::default()).await;
    assert_eq!((applied(&reports[0]).len(), applied(&reports[1]).len()), (10, 4));
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_value_added_needs_is_committed_before_it_is_used() {
    let db = Database::start().await;
    db.create(&[spec("shop")]).await;
    let first = file("V1__mood.sql", "CREATE TYPE mood AS ENUM ('calm');\n");
    let add = "ALTER TYPE mood ADD VALUE 'glad';\n";
    let uses = file("V3__use.sql", "CREATE TABLE person (mood mood DEFAULT 'glad');\n");
    db.migrate_with(&["shop"], std::slice::from_ref(&first), &RunOptions::default()).await;
    let files = [first.clone(), file("V2__glad.sql", add), uses.clone()];
    let reports = db.migrate_with(&["shop"], &files, &RunOptions::default()).await;
    let (_, migration, error) = failure(&reports[0]);
    assert_eq!((migration, error.sqlstate()), (Some("V3__use"), Some("55P04")));
    assert!(error.chain().contains("hint: New enum values must be committed"), "{}", error.chain());

    let marked = file("V2__glad.sql", &format!("-- drawbridge: own-transaction\n{add}"));
    let reports = db.migrate_with(&["shop"], &[first, marked, uses], &RunOptions::default()).await;
    assert_eq!(applied(&reports[0]), ["V2__glad", "V3__use"]);
    db.stop().await;
}

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
async fn plain_refinery_takes_over_and_hands_back() {
    let db = Database::start().await;
    db.create(&[spec("shop")]).await;
    let files = tables(6);
    let plain = |count: usize| {
        let files: Vec<refinery::Migration> = files[..count]
            .iter()
            .map(|file| refinery::Migration::unapplied(&file.to_string(), file.sql()).unwrap())
            .collect();
        refinery::Runner::new(&files).set_abort_divergent(true).set_abort_missing(true)
    };
    let mut session = db.connect(&spec("shop").login()).await;
    let names = |report: &refinery::Report| report.applied_migrations().len();

    // Ours, then refinery with nothing to do, then refinery with one to do, then ours again.
    let reports = db.migrate_with(&["shop"], &files[..2], &RunOptions::default()).await;
    assert_eq!(applied(&reports[0]).len(), 2);
    let report = plain(2).run_async(session.client_mut()).await.unwrap();
    assert_eq!(names(&report), 0);
    let report = plain(4).run_async(session.client_mut()).await.unwrap();
    assert_eq!(names(&report), 2);
    let reports = db.migrate_with(&["shop"], &files, &RunOptions::default()).await;
    assert_eq!(applied(&reports[0]), ["V5__t5", "V6__t6"]);
    let report = plain(6).run_async(session.client_mut()).await.unwrap();
    assert_eq!(names(&report), 0);
    let known = plain(6).get_applied_migrations_async(session.client_mut()).await.unwrap();
    assert!(known.iter().zip(&files).all(|(known, file)| known.checksum() == file.checksum()));
    session.close().await;

    // The table is as refinery makes it: a second one beside it shows no difference.
    let shape = "SELECT string_agg(column_name || ' ' || data_type || ' ' ||
                   coalesce(character_maximum_length::text, '') || ' ' || is_nullable, ', ' ORDER BY ordinal_position)
                 FROM information_schema.columns WHERE table_name = 'refinery_schema_history'";
    let ours = db.names(&spec("shop").login(), shape).await;
    db.create(&[spec("health")]).await;
    let mut session = db.connect(&spec("health").login()).await;
    plain(1).run_async(session.client_mut()).await.unwrap();
    session.close().await;
    assert_eq!(db.names(&spec("health").login(), shape).await, ours);
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_a_file_leaves_behind_reach_no_other_file_and_no_history() {
    let db = Database::start().await;
    db.create(&[spec("shop")]).await;
    let files = [
        file(
            "V1__dump.sql",
            "SELECT pg_catalog.set_config('search_path', '', false);\nCREATE TABLE public.a (id int);\n",
        ),
        file("V2__plain.sql", "CREATE TABLE b (id int);\n"),
    ];
    let reports = db.migrate_with(&["shop"], &files, &RunOptions::default()).await;
    assert_eq!(applied(&reports[0]).len(), 2);
    assert_eq!(db.names(&spec("shop").login(), TABLES).await, ["a", "b", "refinery_schema_history"]);
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_off_to_the_end_fails_the_commit_and_leaves_nothing() {
    let db = Database::start().await;
    db.create(&[spec("shop")]).await;
    let sql = "CREATE TABLE a (id int PRIMARY KEY, b int REFERENCES a DEFERRABLE INITIALLY DEFERRED);\n\
               INSERT INTO a VALUES (1, 2);\n";
    let reports = db.migrate_with(&["shop"], &[file("V1__a.sql", sql)], &RunOptions::default()).await;
    let (done, _, error) = failure(&reports[0]);
    assert!(done.is_empty());
    assert!(
        error.chain().starts_with("cannot commit the migrations of tenant `shop`: ERROR: insert or update"),
        "{error}"
    );
    assert!(db.names(&spec("shop").login(), TABLES).await.is_empty());
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_built_outside_of_a_transaction_and_recorded_after() {
    let db = Database::start().await;
    db.create(&[spec("shop")]).await;
    let index =
        "-- drawbridge: no-transaction\nCREATE INDEX CONCURRENTLY t1_id ON t1 (id); -- quick\nSELECT 1;\n";
    let mut files = tables(1);
    files.push(file("V2__index.sql", index));
    files.push(file("V3__t3.sql", "CREATE TABLE t3 (id int);\n"));
    let reports = db.migrate_with(&["shop"], &files, &RunOptions::default()).await;
    assert_eq!(applied(&reports[0]).len(), 3);
    assert_eq!(db.names(&spec("shop").login(), HISTORY).await, ["1 t1", "2 index", "3 t3"]);
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_was_left_invalid_is_explained_and_never_recorded() {
    let db = Database::start().await;
    db.create(&[spec("shop")]).await;
    let mut files = vec![file("V1__t1.sql", "CREATE TABLE t1 (id int);\nINSERT INTO t1 VALUES (1), (1);\n")];
    let unique = "-- drawbridge: no-transaction\nCREATE TABLE before (id int);\n\n\
                  CREATE UNIQUE INDEX CONCURRENTLY t1_once ON t1 (id);\n";
    files.push(file("V2__index.sql", unique));
    let reports = db.migrate_with(&["shop"], &files, &RunOptions::default()).await;
    let (done, migration, error) = failure(&reports[0]);
    assert_eq!((done, migration), (&["V1__t1".to_owned()][..], Some("V2__index")));
    let text = error.chain();
    for part in [
        "stopped in line 4",
        "what it did before stays",
        "`DROP INDEX CONCURRENTLY \"public\".\"t1_once\"`",
        "23505",
    ] {
        assert!(text.contains(part), "{text}");
    }
    // `IF NOT EXISTS` would take it for done.
    let again =
        "-- drawbridge: no-transaction\nCREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS t1_once ON t1 (id);\n";
    files[1] = file("V2__index.sql", again);
    let reports = db.migrate_with(&["shop"], &files, &RunOptions::default()).await;
    let (_, _, error) = failure(&reports[0]);
    assert!(matches!(error, Error::InvalidIndex { .. }), "{error}");
    assert_eq!(db.names(&spec("shop").login(), HISTORY).await, ["1 t1"]);

    // Done as told, it goes on.
    db.as_owner("shop", "DELETE FROM t1").await;
    db.as_owner("shop", "DROP INDEX CONCURRENTLY \"public\".\"t1_once\"").await;
    let reports = db.migrate_with(&["shop"], &files, &RunOptions::default()).await;
    assert_eq!(applied(&reports[0]), ["V2__index"]);
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_at_once_apply_every_migration_once() {
    let db = Database::start().await;
    let tenants = [spec("shop"), spec("health")];
    db.create(&tenants).await;
    let migrations = shipped();
    let plan = migrate::plan(&db.server, &tenants[0].login(), &migrations).await.unwrap();
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
    let plan = migrate::plan(&db.server, &tenants[0].login(), &migrations).await.unwrap();
    assert!(plan.is_up_to_date() && plan.applied.len() == migrations.len(), "{plan:?}");
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_fails_is_rolled_back_and_named_with_its_line() {
    let db = Database::start().await;
    let tenants = [spec("shop")];
    db.create(&tenants).await;
    let migrations = [
        file("V1__fine.sql", "CREATE TABLE fine (id int);\n"),
        file("V2__bad.sql", "CREATE TABLE half (id int);\n-- é\nSELECT nothing FROM fine;\n"),
        file("V3__never.sql", "CREATE TABLE never (id int);\n"),
    ];
    let reports = db.migrate(&tenants, &migrations).await;
    let Outcome::Failed { applied, migration, error } = &reports[0].outcome else {
        panic!("{reports:?}");
    };
    assert!(applied.is_empty(), "{applied:?}");
    assert_eq!(migration.as_deref(), Some("V2__bad"));
    assert_eq!(
        error.chain(),
        "migration `V2__bad` of tenant `shop` failed in line 3: \
         ERROR: column \"nothing\" does not exist (SQLSTATE 42703)"
    );
    let tables = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' ORDER BY 1";
    assert!(db.names(&tenants[0].login(), tables).await.is_empty());

    // The next run goes on from there.
    let mended = [migrations[0].clone(), file("V2__bad.sql", "SELECT 1;\n"), migrations[2].clone()];
    let reports = db.migrate(&tenants, &mended).await;
    assert!(
        matches!(&reports[0].outcome, Outcome::Applied { migrations } if migrations == &["V1__fine", "V2__bad", "V3__never"]),
        "{reports:?}"
    );
    db.stop().await;
}

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
async fn a_run_that_cannot_get_the_lock_says_who_holds_it() {
    let db = Database::start().await;
    db.create(&[spec("shop")]).await;
    let login = spec("shop").login();
    let options = ConnectOptions { application_name: "somebody else".to_owned(), ..Default::default() };
    let holder = connect(&db.server, &login, &options).await.unwrap();
    lock::acquire(&holder, lock::MIGRATIONS, "test", Duration::ZERO, &Events::none()).await.unwrap();

    let (events, told) = waits();
    let options = RunOptions { lock_limit: Duration::from_millis(150), ..RunOptions::default() };
    let reports = migrate::run(&db.server, std::slice::from_ref(&login), &shipped(), &options, &events).await;
    let Outcome::Failed { error, .. } = &reports[0].outcome else { panic!("{reports:?}") };
    assert_eq!(error.kind(), Kind::Locked);
    let text = error.to_string();
    assert!(text.contains("held by `somebody else` as `shop_app` (pid "), "{text}");
    assert!(text.contains(", connected since 20") && text.contains(", idle for "), "{text}");
    assert!(told.lock().unwrap()[0].contains("somebody else"));

    lock::release(&holder, lock::MIGRATIONS).await.unwrap();
    let twice = lock::release(&holder, lock::MIGRATIONS).await.unwrap_err();
    assert!(twice.to_string().contains("was lost"), "{twice}");
    holder.close().await;
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
