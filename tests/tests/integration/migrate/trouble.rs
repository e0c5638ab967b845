//! Locks, deadlocks, other programs, lost connections.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use db::migrate::{self, Outcome, RunOptions};
use db::{BoxStream, ConnectOptions, Dial, Error, Kind, Server, connect, lock};
use futures_util::future::BoxFuture;
use stack::{Event, Events};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio::sync::watch;

use super::{HISTORY, HOLDING, TABLES, WAITING, applied, failure, tables, trying, waits};
use crate::db::{Database, file, shipped, spec, until_count};

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_cannot_get_the_lock_says_who_holds_it() {
    let db = Database::start().await;
    db.create(&[spec("shop")]).await;
    let login = spec("shop").login();
    let options = ConnectOptions { application_name: "somebody else".to_owned(), ..Default::default() };
    let holder = connect(&db.server, &login, &options).await.unwrap();
    lock::acquire(&holder, lock::MIGRATIONS, "test", Duration::ZERO, &Events::none()).await.unwrap();

    let (events, told) = waits();
    // Long enough for a second look, which is when it is told; on any machine.
    let options = RunOptions { lock_limit: Duration::from_secs(2), ..RunOptions::default() };
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

/// As `db::lock::MIGRATIONS` is.
const MIGRATIONS: i64 = 0x6472_6177_0000_0002;

#[tokio::test(flavor = "multi_thread")]
async fn the_lock_of_a_client_that_fell_silent_is_free_before_the_next_run_gives_up() {
    let db = Database::start().await;
    db.create(&["idle", "open"].map(spec)).await;
    let usual = RunOptions::default();
    assert!(usual.connect.silence_limit.is_some_and(|limit| limit < usual.lock_limit), "{usual:?}");
    // Longer than a slow machine takes between two of the messages below.
    let dead = ConnectOptions { silence_limit: Some(Duration::from_secs(3)), ..usual.connect.clone() };
    // Killed between two messages, and in the middle of a transaction.
    let mut left = Vec::new();
    for (tenant, sql) in [("idle", "SELECT 1"), ("open", "BEGIN; CREATE TABLE public.t1 (id int)")] {
        let sql = format!("SELECT pg_catalog.pg_advisory_lock({MIGRATIONS}); {sql}");
        left.push(db.killed(&spec(tenant).login(), &dead, &sql).await);
    }
    for report in db.migrate_with(&["idle", "open"], &tables(1), &usual).await {
        assert_eq!(applied(&report), ["V1__t1"], "{report:?}");
    }
    drop(left);
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_lives_is_never_ended_for_its_silence() {
    let db = Database::start().await;
    let brief = ConnectOptions { silence_limit: Some(Duration::from_secs(2)), ..ConnectOptions::default() };
    let [idle, open, failed] = [(); 3].map(|()| connect(&db.server, &db.admin, &brief));
    let (idle, open, failed) = (idle.await.unwrap(), open.await.unwrap(), failed.await.unwrap());
    open.client().batch_execute("BEGIN").await.unwrap();
    failed.client().batch_execute("BEGIN").await.unwrap();
    failed.client().batch_execute("SELECT 1 / 0").await.unwrap_err();
    // Who does say nothing is ended meanwhile: that is how long it takes.
    let killed = db.killed(&db.admin, &brief, "SET application_name = 'killed'").await;
    let admin = db.connect(&db.admin).await;
    let killed_ones = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'killed'";
    until_count(&admin, killed_ones, |count| count == 0).await;
    for session in [&idle, &open, &failed] {
        session.client().batch_execute("ROLLBACK").await.unwrap();
    }
    drop(killed);
    db.stop().await;
}

/// Returns where waiting steps are told, one by one.
fn told() -> (Events, mpsc::UnboundedReceiver<String>) {
    let (tell, told) = mpsc::unbounded_channel();
    let events = Events::new(move |event| {
        if let Event::StepWaiting { status, .. } = event {
            // A test that has heard enough listens no more.
            drop(tell.send(status));
        }
    });
    (events, told)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_locked_for_a_while_is_tried_again() {
    let db = Database::start().await;
    db.create(&[spec("shop")]).await;
    db.as_owner("shop", "CREATE TABLE busy (id int)").await;
    let holder = db.hold("shop", "BEGIN; LOCK TABLE busy").await;
    let files = [
        file("V1__first.sql", "CREATE TABLE first (id int);\n"),
        file("V2__busy.sql", "ALTER TABLE busy ADD n int;\n"),
    ];
    let lock_timeout = Some(Duration::from_millis(20));
    let connect = ConnectOptions { lock_timeout, ..ConnectOptions::default() };
    let options = RunOptions { connect, ..trying(20) };
    let (events, mut told) = told();
    let logins = [spec("shop").login()];
    let freeing = async {
        let status = told.recv().await.unwrap();
        holder.close().await;
        status
    };
    let (reports, status) =
        tokio::join!(migrate::run(&db.server, &logins, &files, &options, &events), freeing);
    assert_eq!(applied(&reports[0]).len(), 2);
    for part in ["a lock was not to be had in time; attempt 2 of 20 in ", "`V2__busy`", "55P03"] {
        assert!(status.contains(part), "{status}");
    }
    assert_eq!(db.names(&logins[0], HISTORY).await, ["1 first", "2 busy"]);
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadlock_is_tried_again_but_not_forever() {
    let db = Database::start().await;
    db.create(&[spec("shop")]).await;
    let sql = "DO $$ BEGIN RAISE EXCEPTION 'too bad' USING ERRCODE = 'deadlock_detected'; END $$;\n";
    let (events, told) = waits();
    let logins = [spec("shop").login()];
    let files = [file("V1__deadlock.sql", sql)];
    let reports = migrate::run(&db.server, &logins, &files, &trying(3), &events).await;
    let (_, migration, error) = failure(&reports[0]);
    assert_eq!((migration, error.sqlstate()), (Some("V1__deadlock"), Some("40P01")));
    let told = told.lock().unwrap().clone();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(|status| status.starts_with("a deadlock; attempt ")), "{told:?}");
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_without_our_lock_that_is_quicker_leads_to_no_duplicate_key() {
    let db = Database::start().await;
    db.create(&[spec("shop")]).await;
    let files = tables(2);
    db.migrate_with(&["shop"], &files[..1], &RunOptions::default()).await;
    // As plain refinery does it: the same file and its row in a transaction, but no lock of ours.
    let other = db.hold("shop", "BEGIN").await;
    let row = format!(
        "CREATE TABLE other (id int);
         INSERT INTO refinery_schema_history VALUES (2, 't2', '2026-01-01T00:00:00Z', '{}')",
        files[1].checksum()
    );
    other.client().batch_execute(&row).await.unwrap();
    let committing = async {
        db.wait_until_blocked("shop", 1).await;
        other.client().batch_execute("COMMIT").await.unwrap();
        other.close().await;
    };
    let options = trying(5);
    let (reports, ()) = tokio::join!(db.migrate_with(&["shop"], &files, &options), committing);
    // Not by us.
    assert!(matches!(reports[0].outcome, Outcome::UpToDate), "{reports:?}");
    // Ours is rolled back: what the other one did stands, and nothing was done twice.
    assert_eq!(db.names(&spec("shop").login(), TABLES).await, ["other", "refinery_schema_history", "t1"]);
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_lost_on_the_way_stops_before_anything_is_written() {
    let db = Database::start().await;
    db.create(&[spec("shop")]).await;
    let unlock = "-- drawbridge: own-transaction\nSELECT pg_advisory_unlock_all();\n";
    let mut files = vec![file("V1__unlock.sql", unlock)];
    files.extend(tables(2).split_off(1));
    let reports = db.migrate_with(&["shop"], &files, &RunOptions::default()).await;
    let (done, _, error) = failure(&reports[0]);
    assert_eq!(done, ["V1__unlock"]);
    assert!(matches!(error, Error::LockLost { .. }), "{error}");
    assert_eq!(db.names(&spec("shop").login(), TABLES).await, ["refinery_schema_history"]);
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_the_server_ends_in_the_middle_is_resumed() {
    let db = Database::start().await;
    db.create(&[spec("shop")]).await;
    let holder = db.hold("shop", HOLDING).await;
    let files = [file("V1__t.sql", "CREATE TABLE t (id int);\n"), file("V2__waiting.sql", WAITING)];
    let ending = async {
        db.wait_until_blocked("shop", 1).await;
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
        holder.client().query(end, &[]).await.unwrap();
        holder.close().await;
    };
    let options = trying(5);
    let (reports, ()) = tokio::join!(db.migrate_with(&["shop"], &files, &options), ending);
    assert_eq!(applied(&reports[0]), ["V1__t", "V2__waiting"]);
    assert_eq!(db.names(&spec("shop").login(), HISTORY).await, ["1 t", "2 waiting"]);
    db.stop().await;
}

/// Connections of which the first breaks when somebody says so, and hears nothing from a round trip on.
struct Breaking {
    server: Server,
    is_used: AtomicBool,
    deaf_from: usize,
    broken: watch::Sender<bool>,
}

impl Breaking {
    fn new(server: &Server, deaf_from: usize) -> (Server, Arc<Breaking>) {
        let (server, broken) = (server.clone(), watch::Sender::new(false));
        let breaking =
            Arc::new(Breaking { server: server.clone(), is_used: AtomicBool::new(false), deaf_from, broken });
        (Server { dial: Arc::<Breaking>::clone(&breaking), ..server }, breaking)
    }
}

impl Dial for Breaking {
    fn dial(&self) -> BoxFuture<'_, io::Result<BoxStream>> {
        Box::pin(async {
            let stream = self.server.dial.dial().await?;
            if self.is_used.swap(true, Ordering::Relaxed) {
                return Ok(stream);
            }
            let mut broken = self.broken.subscribe();
            let cut: BoxFuture<'static, ()> = Box::pin(async move {
                // The one who could break it is gone: it holds.
                if broken.wait_for(|broken| *broken).await.is_err() {
                    std::future::pending::<()>().await;
                }
            });
            let deaf_from = self.deaf_from;
            Ok(BoxStream::new(Breakable { stream, cut, deaf_from, flights: 0, has_listened: true }))
        })
    }
}

struct Breakable {
    stream: BoxStream,
    cut: BoxFuture<'static, ()>,
    deaf_from: usize,
    flights: usize,
    has_listened: bool,
}

impl AsyncRead for Breakable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.cut.as_mut().poll(cx).is_ready() {
            // Polled again, a finished future would panic.
            self.cut = Box::pin(std::future::ready(()));
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        while self.flights >= self.deaf_from {
            let mut unheard = [0; 1024];
            let mut unheard = ReadBuf::new(&mut unheard);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut unheard))?;
            if unheard.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.has_listened |= buf.filled().len() > before;
        read
    }
}

impl AsyncWrite for Breakable {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.flights += usize::from(std::mem::take(&mut self.has_listened));
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

// One thread, so that what is sent together is one round trip: five to connect, the lock, the transaction.
#[tokio::test(flavor = "current_thread")]
async fn a_commit_whose_answer_is_lost_is_found_and_not_done_twice() {
    let db = Database::start().await;
    db.create(&[spec("shop")]).await;
    let (server, breaking) = Breaking::new(&db.server, 7);
    // A second time it would fail.
    let (files, logins) = (tables(3), [spec("shop").login()]);
    let cutting = async {
        let session = db.connect(&logins[0]).await;
        let sql = "SELECT count(*) FROM pg_tables WHERE tablename = 't3'";
        until_count(&session, sql, |count| count > 0).await;
        session.close().await;
        breaking.broken.send_replace(true);
    };
    let (events, told) = waits();
    let options = trying(3);
    let (reports, ()) = tokio::join!(migrate::run(&server, &logins, &files, &options, &events), cutting);
    assert_eq!(applied(&reports[0]).len(), 3);
    let told = told.lock().unwrap().clone();
    assert!(told[0].starts_with("the connection was lost; attempt 2 of 3 in "), "{told:?}");
    assert_eq!(db.names(&logins[0], HISTORY).await.len(), 3);
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_in_the_middle_leaves_nothing_and_the_next_run_goes_on() {
    let db = Database::start().await;
    db.create(&[spec("shop")]).await;
    let holder = db.hold("shop", HOLDING).await;
    let (server, breaking) = Breaking::new(&db.server, usize::MAX);
    let (files, logins) = ([file("V1__waiting.sql", WAITING)], [spec("shop").login()]);
    let cutting = async {
        db.wait_until_blocked("shop", 1).await;
        breaking.broken.send_replace(true);
    };
    let (options, events) = (trying(1), Events::none());
    let (reports, ()) = tokio::join!(migrate::run(&server, &logins, &files, &options, &events), cutting);
    let (done, migration, error) = failure(&reports[0]);
    assert_eq!((done.len(), migration, error.kind()), (0, Some("V1__waiting"), Kind::Unreachable), "{error}");

    // The server notices by itself that nobody listens, and only then can the lock be had.
    db.wait_until_blocked("shop", 0).await;
    assert!(db.names(&logins[0], TABLES).await.is_empty());
    holder.close().await;
    let reports = db.migrate_with(&["shop"], &files, &RunOptions::default()).await;
    assert_eq!(applied(&reports[0]), ["V1__waiting"]);
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_without_a_transaction_is_not_tried_again_blindly() {
    let db = Database::start().await;
    db.create(&[spec("shop")]).await;
    let sql = "-- drawbridge: no-transaction\nCREATE TABLE half (id int);\n\
               DO $$ BEGIN RAISE EXCEPTION 'too bad' USING ERRCODE = 'deadlock_detected'; END $$;\n";
    let (events, told) = waits();
    let logins = [spec("shop").login()];
    let reports = migrate::run(&db.server, &logins, &[file("V1__bare.sql", sql)], &trying(5), &events).await;
    let (_, migration, error) = failure(&reports[0]);
    assert_eq!((migration, error.sqlstate()), (Some("V1__bare"), Some("40P01")));
    assert!(error.to_string().contains("stopped in line 3"), "{error}");
    assert!(told.lock().unwrap().is_empty());
    assert_eq!(db.names(&logins[0], TABLES).await, ["half"]);
    db.stop().await;
}
