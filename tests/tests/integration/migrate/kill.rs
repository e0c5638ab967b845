//! Real runners are killed, fifty of them: no tenant is left half-migrated, and the next run finishes.

use std::process::Stdio;

use db::{ConnectOptions, SearchPath, Session};
use deploy::bridge::{self, Bridge};
use deploy::tenants;
use sandbox::Pacing;
use tests::{Fixture, LIMIT, Random, Want, seen, within};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::program::{Files, kinds};
use crate::db::until_count;

const KILLS: usize = 50;
/// After so many kills the next runner begins a run of its own.
const TRIES: usize = 4;
const SEED: u64 = 0x0d2a_3b1d_6e00_0002;
/// More lines than most runs tell, so that some come to their end.
const LINES: usize = 14;
/// How many files each run brings.
const FILES: usize = 4;

/// When a runner is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// It has told so many events.
    Events(usize),
    /// So many rows have come to the histories.
    Rows(i64),
    /// The server is in the middle of a tenant's transaction.
    InTransaction,
}

impl Moment {
    fn next(random: &mut Random) -> Moment {
        match random.below(4) {
            0 | 1 => Moment::Events(1 + random.below(LINES)),
            2 => Moment::Rows(i64::try_from(random.below(3 * FILES)).unwrap()),
            _ => Moment::InTransaction,
        }
    }
}

/// A stack with its tenants, their files, and connections that are not killed.
struct Stage {
    fixture: Fixture,
    files: Files,
    count: usize,
    bridge: Bridge,
    master: Session,
    tenants: Vec<Session>,
}

/// What is recorded and not done twice over, as each file does, or done and not recorded.
const HALF: &str = "
    SELECT count(*) FROM (SELECT version FROM refinery_schema_history WHERE version > 1) h
    FULL JOIN (SELECT n, count(*) AS times FROM done GROUP BY n) d ON d.n = h.version
    WHERE h.version IS NULL OR d.times IS DISTINCT FROM 2";
const RECORDED: &str = "SELECT count(*) FROM refinery_schema_history";
/// Whoever has a tenant's lock and has written: as `db::lock::MIGRATIONS` is, and a transaction's number.
const IN_TRANSACTION: &str = "
    SELECT count(*) FROM pg_locks l JOIN pg_locks x USING (pid)
    WHERE l.locktype = 'advisory' AND l.objid = 2 AND l.granted AND x.locktype = 'transactionid' AND x.granted";

async fn count(session: &Session, sql: &str) -> i64 {
    session.client().query_one(sql, &[]).await.unwrap().get(0)
}

impl Stage {
    async fn start() -> Stage {
        let fixture = Fixture::start_agent(Want::Databases, |agent| agent.pacing = Pacing::Unlimited).await;
        fixture.run(&["up", "--yes"]).await.expect(0);
        fixture.run(&["tenant", "create"]).await.expect(0);
        let files = Files::new(&fixture);
        files.write("V1__done.sql", "CREATE TABLE done (n int NOT NULL);\n");
        files.migrate(&fixture, &[], 0).await;
        let context = &fixture.context;
        let (cloud, inventory) = context.observe().await.unwrap();
        let bridge = Bridge::to_database(context, &cloud, &inventory).await.unwrap();
        let server = bridge.server(context).unwrap();
        let master = bridge::master(context, &cloud).await.unwrap();
        let master = db::connect(&server, &master, &ConnectOptions::default()).await.unwrap();
        let mut tenants = Vec::new();
        let own = ConnectOptions { search_path: SearchPath::Own, ..ConnectOptions::default() };
        for spec in tenants::specs(context, &cloud, &context.stack.tenants).await.unwrap() {
            let login = spec.unwrap().login();
            tenants.push(db::connect(&server, &login, &own).await.unwrap());
        }
        let mut stage = Stage { fixture, files, count: 1, bridge, master, tenants };
        stage.write_more();
        stage
    }

    /// Writes files for another run; every other one is committed by itself.
    fn write_more(&mut self) {
        for _ in 0..FILES {
            self.count += 1;
            let n = self.count;
            let mode = if n.is_multiple_of(2) { "-- drawbridge: own-transaction\n" } else { "" };
            let insert = format!("INSERT INTO done VALUES ({n});\n");
            // Long enough for a kill to come in the middle.
            let sql = format!("{mode}{insert}SELECT pg_sleep(0.02);\n{insert}");
            self.files.write(&format!("V{n}__n{n}.sql"), &sql);
        }
    }

    /// Starts a runner, and returns it with the number of events that it has told.
    fn start_runner(&self, more: &[&str]) -> (Child, watch::Receiver<usize>) {
        let args = self.files.args(more);
        let program = self.fixture.program(&args.iter().map(String::as_str).collect::<Vec<_>>());
        let mut command = Command::from(program);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut runner = command.spawn().unwrap();
        let mut lines = BufReader::new(runner.stderr.take().unwrap()).lines();
        let (tell, told) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok(Some(_)) = lines.next_line().await {
                tell.send_modify(|count| *count += 1);
            }
        });
        (runner, told)
    }

    async fn recorded(&self) -> i64 {
        let mut all = 0;
        for tenant in &self.tenants {
            all += count(tenant, RECORDED).await;
        }
        all
    }

    async fn wait_until(&self, moment: Moment, mut told: watch::Receiver<usize>) {
        match moment {
            Moment::Events(events) => {
                if told.wait_for(|count| *count >= events).await.is_err() {
                    // It has ended before.
                    std::future::pending::<()>().await;
                }
            }
            Moment::Rows(rows) => {
                let before = self.recorded().await;
                within(LIMIT, "a runner records as many rows as that", || async {
                    let now = self.recorded().await;
                    seen(now > before + rows, format!("{now} rows, {before} before"))
                })
                .await;
            }
            Moment::InTransaction => until_count(&self.master, IN_TRANSACTION, |count| count > 0).await,
        }
    }

    /// Kills a runner at that moment; `false` if it came to its end before.
    async fn kill(&self, more: &[&str], moment: Moment) -> bool {
        let (mut runner, told) = self.start_runner(more);
        let ended = tokio::select! {
            ended = tokio::time::timeout(LIMIT, runner.wait()) => {
                Some(ended.unwrap_or_else(|_| panic!("{moment:?}: the runner does not end")).unwrap())
            }
            () = self.wait_until(moment, told) => None,
        };
        match ended {
            Some(status) => {
                assert!(status.success(), "{moment:?}: {status}");
                false
            }
            None => {
                runner.kill().await.unwrap();
                true
            }
        }
    }

    async fn expect_whole(&self, place: &str) {
        for (at, tenant) in self.tenants.iter().enumerate() {
            assert_eq!(count(tenant, HALF).await, 0, "{place}: tenant {at} is half-migrated");
        }
    }

    async fn stop(self) {
        for session in self.tenants.into_iter().chain([self.master]) {
            session.close().await;
        }
        self.bridge.close().await;
        self.fixture.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_fifty_moments_no_tenant_is_half_migrated_and_the_next_run_finishes() {
    let mut stage = Stage::start().await;
    let wanted = if tests::sweeps_fully() { KILLS } else { KILLS / 8 };
    let (mut random, mut kills, mut run) = (Random::new(SEED), 0, 1);
    for round in 0.. {
        assert!(round < 4 * KILLS, "only {kills} runners came as far as where they were to be killed");
        let moment = Moment::next(&mut random);
        // A short lease, so that the next runner need not wait for a minute.
        let name = format!("run-{run}");
        let was_killed = stage.kill(&["--join", &name, "--jobs", "3", "--lease", "1"], moment).await;
        stage.expect_whole(&format!("round {round}, {moment:?}")).await;
        if was_killed {
            kills += 1;
            if kills == wanted {
                break;
            }
            // A run gives a tenant up that was taken five times.
            if kills.is_multiple_of(TRIES) {
                run += 1;
            }
        } else {
            run += 1;
            stage.write_more();
        }
    }
    let name = format!("run-{run}");
    stage.files.migrate(&stage.fixture, &["--join", &name, "--lease", "1"], 0).await;
    if tests::sweeps_fully() {
        // Without `--join` nobody ends what the killed one left but the server, after half a minute.
        stage.write_more();
        assert!(stage.kill(&[], Moment::InTransaction).await);
        stage.expect_whole("without `--join`").await;
        stage.files.migrate(&stage.fixture, &[], 0).await;
    }
    let last = stage.files.migrate(&stage.fixture, &[], 0).await;
    assert_eq!(kinds(&last), ["up-to-date"; 3], "{last}");
    stage.expect_whole("at the end").await;
    for tenant in &stage.tenants {
        assert_eq!(count(tenant, RECORDED).await, i64::try_from(stage.count).unwrap());
    }
    stage.stop().await;
}
