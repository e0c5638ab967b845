//! One run by many runners: nobody is migrated twice, forgotten or left half-done, whoever dies.

use std::collections::HashSet;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use db::migrate::{self, JoinOptions, Joined, Outcome, RunName, RunOptions, SkipReason, Stop, Target};
use db::migration::MigrationSet;
use db::{BoxStream, Dial, Error, Migration, Server};
use futures_util::future::BoxFuture;
use stack::spec::{OnError, Wave};
use stack::{Event, Events};
use tests::{LIMIT, seen, within};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{HISTORY, HOLDING, TABLES, WAITING, tables, waits};
use crate::db::{Database, file, spec};

const EIGHT: [&str; 8] = ["one", "two", "three", "four", "five", "six", "seven", "eight"];

fn members(names: &[&str], migrations: &[Migration]) -> Vec<Target> {
    let table = "refinery_schema_history".to_owned();
    let set = Arc::new(MigrationSet { name: None, table, migrations: migrations.to_vec() });
    let target = |name: &&str| Target { login: spec(name).login(), set: Arc::clone(&set), no_login: None };
    names.iter().map(target).collect()
}

fn name(text: &str) -> RunName {
    RunName::parse(text).unwrap()
}

/// Returns what a report says, to be held against another runner's.
fn said(joined: &Joined) -> String {
    let outcomes = joined.reports.iter().zip(&joined.runners).map(|(report, runner)| {
        format!("{} {:?} {runner:?}", serde_json::to_string(report).unwrap(), report.elapsed)
    });
    format!("{:?} {:?}", joined.elapsed, outcomes.collect::<Vec<_>>())
}

fn kinds(joined: &Joined) -> Vec<&'static str> {
    let kinds = joined.reports.iter().map(|report| match &report.outcome {
        Outcome::UpToDate => "up to date",
        Outcome::Applied { .. } => "applied",
        Outcome::Failed { .. } => "failed",
        Outcome::Interrupted { .. } => "interrupted",
        Outcome::NotStarted { reason: SkipReason::ErrorBudget } => "held",
        Outcome::NotStarted { reason: SkipReason::Elsewhere } => "elsewhere",
        Outcome::NotStarted { .. } => "not started",
    });
    kinds.collect()
}

impl Database {
    async fn join(
        &self,
        run: &str,
        names: &[&str],
        migrations: &[Migration],
        options: &JoinOptions,
    ) -> Result<Joined, Error> {
        let members = members(names, migrations);
        migrate::join(&self.server, &self.admin, &name(run), &members, options, &Events::none()).await
    }

    /// Waits until so many tenants of a run are in that state.
    async fn wait_until_run(&self, run: &str, condition: &str, count: i64) {
        let session = self.connect(&self.admin).await;
        let sql = format!("SELECT count(*) FROM drawbridge.run_tenant WHERE run = '{run}' AND {condition}");
        within(LIMIT, &format!("{count} tenants of run `{run}` have {condition}"), || async {
            // The first runner may not have made the table yet.
            let answer = session.client().query_one(&sql, &[]).await.map_err(|error| error.to_string())?;
            let found = answer.get::<_, i64>(0);
            seen(found == count, format!("{found} of them"))
        })
        .await;
        session.close().await;
    }
}

/// Waits until something was told.
async fn until_told(told: &Mutex<Vec<String>>, what: &str) {
    within(LIMIT, what, || async { seen(!told.lock().unwrap().is_empty(), "nothing was told") }).await;
}

/// Returns `V1` .. that write a row each, and would write it again if they were applied again.
fn counting(count: usize) -> Vec<Migration> {
    let mut files =
        vec![file("V1__seen.sql", "CREATE TABLE seen (version int);\nINSERT INTO seen VALUES (1);\n")];
    files.extend(
        (2..=count).map(|n| file(&format!("V{n}__n.sql"), &format!("INSERT INTO seen VALUES ({n});\n"))),
    );
    files
}

const SEEN: &str = "SELECT count(*) || ' of ' || version FROM seen GROUP BY version ORDER BY version";
const VERSIONS: &str = "SELECT '1 of ' || version FROM refinery_schema_history ORDER BY version";

#[tokio::test(flavor = "multi_thread")]
async fn eight_runners_apply_every_migration_once_in_every_tenant_time_after_time() {
    let db = Database::start().await;
    db.create(&EIGHT.map(spec)).await;
    let rounds = if tests::sweeps_fully() { 20 } else { 5 };
    let files = counting(rounds);
    for round in 1..=rounds {
        let mut runners = JoinSet::new();
        for _ in 0..8 {
            let (server, admin) = (db.server.clone(), db.admin.clone());
            let members = members(&EIGHT, &files[..round]);
            let options = JoinOptions {
                run: RunOptions { jobs: 2, ..RunOptions::default() },
                ..JoinOptions::default()
            };
            runners.spawn(async move {
                let run = name(&format!("round-{round}"));
                migrate::join(&server, &admin, &run, &members, &options, &Events::none()).await.unwrap()
            });
        }
        let joined = runners.join_all().await;
        assert_eq!(kinds(&joined[0]), ["applied"; 8], "{joined:#?}");
        let reports: HashSet<String> = joined.iter().map(said).collect();
        assert_eq!(reports.len(), 1, "{reports:#?}");
    }
    for tenant in EIGHT {
        let login = spec(tenant).login();
        let seen = db.names(&login, SEEN).await;
        assert_eq!((seen.len(), &seen), (rounds, &db.names(&login, VERSIONS).await));
    }
    // Whoever comes afterwards gets the same report, and does nothing.
    let late = db.join(&format!("round-{rounds}"), &EIGHT, &files, &JoinOptions::default()).await.unwrap();
    assert_eq!(kinds(&late), ["applied"; 8]);
    db.stop().await;
}

/// A way to the server that freezes for good when so many messages were sent over all its connections.
struct Mortal {
    server: Server,
    left: Arc<AtomicUsize>,
    died: Arc<watch::Sender<bool>>,
}

impl Mortal {
    fn new(server: &Server, messages: usize) -> (Server, Arc<Mortal>) {
        let mortal = Arc::new(Mortal {
            server: server.clone(),
            left: Arc::new(AtomicUsize::new(messages)),
            died: Arc::new(watch::Sender::new(false)),
        });
        (Server { dial: Arc::<Mortal>::clone(&mortal), ..server.clone() }, mortal)
    }
}

impl Dial for Mortal {
    fn dial(&self) -> BoxFuture<'_, io::Result<BoxStream>> {
        Box::pin(async {
            let stream = self.server.dial.dial().await?;
            let (left, died) = (Arc::clone(&self.left), Arc::clone(&self.died));
            Ok(BoxStream::new(MortalStream { stream, left, died }))
        })
    }
}

struct MortalStream {
    stream: BoxStream,
    left: Arc<AtomicUsize>,
    died: Arc<watch::Sender<bool>>,
}

impl AsyncRead for MortalStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if *self.died.borrow() {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for MortalStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if left.is_err() {
            self.died.send_replace(true);
            return Poll::Pending;
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

/// Returns numbers that look like chance and are the same each time.
pub(crate) fn chance(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed;
    move |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_dies_at_any_of_fifty_moments_leaves_nothing_half_done_and_the_next_finishes() {
    const THREE: [&str; 3] = ["one", "two", "three"];
    let moments = if tests::sweeps_fully() { 50 } else { 12 };
    let db = Database::start().await;
    db.create(&THREE.map(spec)).await;
    let files = counting(moments + 2);
    let short = JoinOptions {
        run: RunOptions { jobs: 2, ..RunOptions::default() },
        lease: Duration::from_millis(400),
        ..JoinOptions::default()
    };
    // How many messages a whole run takes, once the table of runs is there.
    db.join("first", &THREE, &files[..1], &short).await.unwrap();
    let (server, mortal) = Mortal::new(&db.server, usize::MAX);
    let (run, all) = (name("whole"), members(&THREE, &files[..2]));
    migrate::join(&server, &db.admin, &run, &all, &short, &Events::none()).await.unwrap();
    let messages = usize::MAX - mortal.left.load(Ordering::Relaxed);

    let mut chance = chance(7);
    let mut deaths = 0;
    for moment in 0..moments {
        let files = &files[..moment + 3];
        let (run, all) = (name(&format!("moment-{moment}")), members(&THREE, files));
        let (server, mortal) = Mortal::new(&db.server, 1 + chance(messages));
        let (mut died, events) = (mortal.died.subscribe(), Events::none());
        let mut runner = Box::pin(migrate::join(&server, &db.admin, &run, &all, &short, &events));
        tokio::select! {
            joined = &mut runner => {
                // On a machine that is slow a short lease may run out, and the runner finds what it did itself.
                let kinds = kinds(&joined.unwrap());
                assert!(kinds.iter().all(|kind| ["applied", "up to date"].contains(kind)), "{kinds:?}");
            }
            died = died.wait_for(|died| *died) => {
                drop(died.unwrap());
                deaths += 1;
            }
        }
        // All that it has goes with the future, as with a process; behind a tunnel, its connections stay.
        let tunnel = (moment % 2 == 0).then_some(runner);
        let next = db.join(run.as_str(), &THREE, files, &short).await.unwrap();
        let is_done = |kind: &&str| ["applied", "up to date"].contains(kind);
        assert!(kinds(&next).iter().all(is_done), "moment {moment}: {next:#?}");
        for tenant in THREE {
            let login = spec(tenant).login();
            let seen = db.names(&login, SEEN).await;
            assert_eq!((seen.len(), &seen), (files.len(), &db.names(&login, VERSIONS).await), "{moment}");
        }
        drop(tunnel);
    }
    assert!(deaths > moments / 2, "{deaths}");
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_whose_lease_is_lost_ends_what_it_has_begun_and_says_so() {
    let db = Database::start().await;
    db.create(&["one", "two"].map(spec)).await;
    let holder = db.hold("one", HOLDING).await;
    let files = [file("V1__waiting.sql", WAITING)];
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&told);
    let events = Events::new(move |event| {
        if let Event::Warning { text } = event {
            sink.lock().unwrap().push(text);
        }
    });
    let options = JoinOptions { lease: Duration::from_millis(300), ..JoinOptions::default() };
    let (run, all) = (name("lost"), members(&["one", "two"], &files));
    let losing = async {
        db.wait_until_run("lost", "state = 'done'", 1).await;
        db.wait_until_blocked("one", 1).await;
        // As if this runner had not been heard of, and another had come by.
        db.as_master(
            "UPDATE drawbridge.run_tenant SET runner = 'another', attempts = 2,
             lease_until = now() + interval '2 seconds' WHERE tenant = 'one'",
        )
        .await;
        until_told(&told, "the loss is told").await;
        holder.close().await;
    };
    let join = migrate::join(&db.server, &db.admin, &run, &all, &options, &events);
    let (joined, ()) = tokio::join!(join, losing);
    // The other one never came back; this one saw that all was done already.
    assert_eq!(kinds(&joined.unwrap()), ["up to date", "applied"]);
    let told = told.lock().unwrap().clone();
    assert!(told.iter().all(|told| told.starts_with("the lease of tenant `one` ran out")), "{told:?}");
    assert_eq!(db.names(&spec("one").login(), HISTORY).await, ["1 waiting"]);
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_joined_with_what_it_was_begun_with_or_not_at_all() {
    let db = Database::start().await;
    db.create(&["one", "two"].map(spec)).await;
    let (files, both) = (tables(2), ["one", "two"]);
    let options = JoinOptions { runner: "first".to_owned(), ..JoinOptions::default() };
    db.join("r", &["one"], &files[..1], &options).await.unwrap();
    let refused = async |names: &[&str], files: &[Migration], options: &JoinOptions| {
        let error = db.join("r", names, files, options).await.unwrap_err();
        assert!(error.is_usage(), "{error}");
        error.to_string()
    };
    let text = refused(&["one"], &files, &options).await;
    assert!(
        text.starts_with("run `r` cannot be joined: `first-") && text.contains("other migrations"),
        "{text}"
    );
    let stricter = RunOptions { on_error: OnError::Stop, ..RunOptions::default() };
    let stricter = JoinOptions { run: stricter, ..JoinOptions::default() };
    let text = refused(&["one"], &files[..1], &stricter).await;
    assert!(text.contains("`--on-error`"), "{text}");
    let text = refused(&["two"], &files[..1], &options).await;
    assert!(text.contains("`one` is not among yours"), "{text}");
    // A tenant that came later is not part of it.
    let joined = db.join("r", &both, &files[..1], &options).await.unwrap();
    assert_eq!(kinds(&joined), ["applied"]);
    assert!(db.names(&spec("two").login(), TABLES).await.is_empty());
    // Nobody but the master reads the table, though one may have been let in by name.
    db.as_master("GRANT CONNECT ON DATABASE postgres TO one_app").await;
    let tenant = db::Login { database: "postgres".to_owned(), ..spec("one").login() };
    let session = db.connect(&tenant).await;
    let denied = session.client().query("SELECT * FROM drawbridge.run_tenant", &[]).await.unwrap_err();
    assert_eq!(denied.code().unwrap().code(), "42501");
    session.close().await;
    // Old runs are forgotten.
    db.as_master("UPDATE drawbridge.run SET created_at = now() - interval '31 days'").await;
    db.join("s", &["one"], &files[..1], &options).await.unwrap();
    assert_eq!(db.names(&db.admin, "SELECT run FROM drawbridge.run").await, ["s"]);
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_told_to_all_runners_and_counts_for_all_their_waves() {
    let db = Database::start().await;
    db.create(&EIGHT.map(spec)).await;
    db.as_owner("one", "CREATE TABLE t1 (id text)").await;
    let mut labels = vec![Vec::new(); EIGHT.len()];
    labels[0] = vec!["canary".to_owned()];
    labels[1] = vec!["canary".to_owned()];
    let waves = migrate::assign_waves(&[Wave::Label("canary".to_owned()), Wave::Rest], &labels);
    let held = ["held"; 6];
    for (run, error_budget, rest) in [("strict", 0, held), ("lenient", 1, ["applied"; 6])] {
        let mut runners = JoinSet::new();
        for _ in 0..4 {
            let (server, admin) = (db.server.clone(), db.admin.clone());
            let members = members(&EIGHT, &tables(1));
            let run_options =
                RunOptions { jobs: 1, waves: waves.clone(), error_budget, ..RunOptions::default() };
            let options = JoinOptions { run: run_options, ..JoinOptions::default() };
            runners.spawn(async move {
                migrate::join(&server, &admin, &name(run), &members, &options, &Events::none()).await.unwrap()
            });
        }
        let joined = runners.join_all().await;
        let reports: HashSet<String> = joined.iter().map(said).collect();
        assert_eq!(reports.len(), 1, "{reports:#?}");
        let kinds = kinds(&joined[0]);
        assert_eq!((kinds[0], &kinds[2..]), ("failed", &rest[..]), "{joined:#?}");
        let Outcome::Failed { migration, error, .. } = &joined[0].reports[0].outcome else { panic!() };
        assert_eq!(migration.as_deref(), Some("V1__t1"));
        assert!(error.chain().contains("relation \"t1\" already exists"), "{error}");
        let kept = db.names(&db.admin, "SELECT coalesce(report::text, '') FROM drawbridge.run_tenant").await;
        assert!(EIGHT.iter().all(|name| !kept.concat().contains(&format!("of {name}"))), "{kept:?}");
    }
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_is_stopped_gives_its_tenants_back_at_once() {
    let db = Database::start().await;
    db.create(&["one", "two"].map(spec)).await;
    let holder = db.hold("one", HOLDING).await;
    let files = [file("V1__waiting.sql", WAITING)];
    let stop = Stop::new();
    let run = RunOptions { jobs: 1, stop: stop.clone(), grace: Duration::ZERO, ..RunOptions::default() };
    let options = JoinOptions { run, lease: Duration::from_secs(3600), ..JoinOptions::default() };
    let stopping = async {
        db.wait_until_blocked("one", 1).await;
        stop.raise();
    };
    let (joined, ()) = tokio::join!(db.join("r", &["one", "two"], &files, &options), stopping);
    assert_eq!(kinds(&joined.unwrap()), ["interrupted", "not started"]);
    db.wait_until_run("r", "state = 'todo'", 2).await;
    holder.close().await;
    let options = JoinOptions { lease: Duration::from_secs(3600), ..JoinOptions::default() };
    let joined = db.join("r", &["one", "two"], &files, &options).await.unwrap();
    assert_eq!(kinds(&joined), ["applied"; 2]);
    db.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_to_the_table_is_made_again() {
    let db = Database::start().await;
    db.create(&[spec("one")]).await;
    let holder = db.hold("one", HOLDING).await;
    let (events, told) = waits();
    let (run, all) = (name("r"), members(&["one"], &[file("V1__waiting.sql", WAITING)]));
    let options = JoinOptions { lease: Duration::from_millis(300), ..JoinOptions::default() };
    let ending = async {
        db.wait_until_blocked("one", 1).await;
        db.as_master(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = 'postgres' AND usename = current_user AND pid <> pg_backend_pid()",
        )
        .await;
        until_told(&told, "the lost connection is told").await;
        holder.close().await;
    };
    let join = migrate::join(&db.server, &db.admin, &run, &all, &options, &events);
    let (joined, ()) = tokio::join!(join, ending);
    assert_eq!(kinds(&joined.unwrap()), ["applied"]);
    let told = told.lock().unwrap().clone();
    assert!(told.iter().any(|told| told.starts_with("attempt 2 of 10 in ")), "{told:?}");
    db.stop().await;
}
