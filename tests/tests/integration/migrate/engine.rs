//! What is sent, what stays, and what refinery makes of it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use db::migrate::{self, Outcome, RunOptions};
use db::{BoxStream, ConnectOptions, Dial, Error, Migration, Server, connect};
use futures_util::future::BoxFuture;
use stack::Events;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{HISTORY, TABLES, applied, failure, tables};
use crate::db::{Database, file, spec, until_count};

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
    let admin = db.connect(&db.admin).await;
    let flights = Arc::new(AtomicUsize::new(0));
    let dial = Arc::new(Counting { server: db.server.clone(), flights: Arc::clone(&flights) });
    let server = Server { dial, ..db.server.clone() };
    let login = spec("shop").login();
    connect(&server, &login, &ConnectOptions::default()).await.unwrap().close().await;
    let connecting = flights.swap(0, Ordering::Relaxed);

    let run = async |migrations: &[Migration]| {
        let logins = std::slice::from_ref(&login);
        // A session that was closed keeps its lock until the server has noticed, and a lock that is held costs a look more.
        let sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'shop'";
        until_count(&admin, sessions, |count| count == 0).await;
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
    admin.close().await;
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
    let mut client = db.plain(&spec("shop").login()).await;
    let names = |report: &refinery::Report| report.applied_migrations().len();

    // Ours, then refinery with nothing to do, then refinery with one to do, then ours again.
    let reports = db.migrate_with(&["shop"], &files[..2], &RunOptions::default()).await;
    assert_eq!(applied(&reports[0]).len(), 2);
    let report = plain(2).run_async(&mut client).await.unwrap();
    assert_eq!(names(&report), 0);
    let report = plain(4).run_async(&mut client).await.unwrap();
    assert_eq!(names(&report), 2);
    let reports = db.migrate_with(&["shop"], &files, &RunOptions::default()).await;
    assert_eq!(applied(&reports[0]), ["V5__t5", "V6__t6"]);
    let report = plain(6).run_async(&mut client).await.unwrap();
    assert_eq!(names(&report), 0);
    let known = plain(6).get_applied_migrations_async(&mut client).await.unwrap();
    assert!(known.iter().zip(&files).all(|(known, file)| known.checksum() == file.checksum()));

    // The table is as refinery makes it: a second one beside it shows no difference.
    let shape = "SELECT string_agg(column_name || ' ' || data_type || ' ' ||
                   coalesce(character_maximum_length::text, '') || ' ' || is_nullable, ', ' ORDER BY ordinal_position)
                 FROM information_schema.columns WHERE table_name = 'refinery_schema_history'";
    let ours = db.names(&spec("shop").login(), shape).await;
    db.create(&[spec("health")]).await;
    plain(1).run_async(&mut db.plain(&spec("health").login()).await).await.unwrap();
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
