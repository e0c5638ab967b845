//! SIGKILL at random moments of what works on tenants: the same command again succeeds within 90 s, and no child lives on.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use aws::Cloud;
use db::tenant::DropSpec;
use db::{Login, Server};
use deploy::bridge::{self, Bridge};
use deploy::db_task::DbTask;
use deploy::task::tenant;
use sandbox::Pacing;
use stack::Events;
use stack::spec::Tenant;
use tests::{Fixture, LIMIT, Random, Want, seen, within};

use super::victim::{MARK, Victim, kills, mark, run, with_mark};

/// Where the moments are taken from; each message names the round and its moment as well.
const SEED: u64 = 0x0d2a_3b1d_6e00_0003;
const TENANT: &str = "healthtech_experiment";

/// A stack, and a way to its server that is not killed.
struct Stage {
    fixture: Fixture,
    cloud: Cloud,
    bridge: Bridge,
    server: Server,
    master: Login,
}

impl Stage {
    async fn start() -> Stage {
        let fixture = Fixture::start_agent(Want::Databases, |agent| agent.pacing = Pacing::Unlimited).await;
        fixture.run(&["up", "--yes"]).await.expect(0);
        let context = &fixture.context;
        let (cloud, inventory) = context.observe().await.unwrap();
        let bridge = Bridge::to_database(context, &cloud, &inventory).await.unwrap();
        let server = bridge.server(context).unwrap();
        let master = bridge::master(context, &cloud).await.unwrap();
        Stage { fixture, cloud, bridge, server, master }
    }

    fn tenants(&self) -> &[Tenant] {
        &self.fixture.context.stack.tenants
    }

    fn tenant(&self, name: &str) -> &Tenant {
        self.fixture.context.stack.tenant(name).unwrap()
    }

    async fn create(&self, tenants: &[Tenant]) {
        let task = DbTask { context: &self.fixture.context, cloud: &self.cloud, server: &self.server };
        let created = tenant::create(task, &self.master, tenants).await;
        tenant::judge_created(&created.unwrap()).unwrap();
    }

    /// Takes a tenant away, and all that is its own.
    async fn remove(&self, tenant: &Tenant) {
        let what = DropSpec {
            tenant: tenant.name.clone(),
            owner: tenant.owner.clone(),
            shared_with: Vec::new(),
            force: true,
        };
        db::tenant::drop(&self.server, &self.master, &what, &Events::none()).await.unwrap();
        let stack = &self.fixture.context.stack;
        aws::secret::destroy_role_secret(&self.cloud, stack, &tenant.owner).await.unwrap();
    }

    /// Gives a tenant enough to be dumped for a while.
    async fn fill(&self, tenant: &Tenant) {
        let login = bridge::owner(&self.fixture.context, &self.cloud, tenant).await.unwrap();
        let session = db::connect(&self.server, &login, &db::ConnectOptions::default()).await.unwrap();
        let sql =
            "CREATE TABLE public.product AS SELECT n, md5(n::text) AS name FROM generate_series(1, 50000) n";
        session.client().batch_execute(sql).await.unwrap();
        session.close().await;
    }

    async fn is_there(&self, tenant: &str) -> bool {
        db::tenant::survey(&self.server, &self.master, tenant).await.unwrap().database.is_some()
    }

    async fn stop(self) {
        self.bridge.close().await;
        self.fixture.stop().await;
    }
}

/// Kills a command again and again; `prepare` comes before each run, `check` after the same command has succeeded.
async fn kill_again_and_again(
    victim: &Victim<'_>,
    seed: u64,
    mut prepare: impl AsyncFnMut(),
    mut check: impl AsyncFnMut(&str),
) {
    prepare().await;
    let course = victim.measure().await;
    let (mut random, mut killed) = (Random::new(SEED ^ seed), 0);
    for round in 1.. {
        assert!(
            round <= 4 * kills(),
            "only {killed} came as far as where they were to be killed: {course:?}"
        );
        prepare().await;
        let moment = course.moment(&mut random);
        let place = format!("seed {:#x}, round {round}, {moment:?} of {course:?}", SEED ^ seed);
        let was_killed = victim.kill(moment, &place).await;
        victim.again(&place).await;
        check(&place).await;
        killed += usize::from(was_killed);
        if killed == kills() {
            break;
        }
    }
}

#[test]
fn a_killed_create_is_finished_by_the_same_command() {
    run(async || {
        let stage = Stage::start().await;
        let victim = Victim::new(&stage.fixture, &["tenant", "create"]);
        let prepare = async || {
            for tenant in stage.tenants() {
                stage.remove(tenant).await;
            }
        };
        let check = async |place: &str| {
            for tenant in stage.tenants() {
                assert!(stage.is_there(&tenant.name).await, "{place}: {}", tenant.name);
            }
        };
        kill_again_and_again(&victim, 1, prepare, check).await;
        stage.fixture.run(&["tenant", "verify"]).await.expect(0);
        stage.stop().await;
    });
}

/// Returns the names of all files in a folder, and makes it empty.
fn take_all(dir: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        names.push(entry.file_name().into_string().unwrap());
        std::fs::remove_file(entry.path()).unwrap();
    }
    names.sort();
    names
}

/// Returns whether all of a dump is there.
fn is_whole(dump: &Path) -> bool {
    let restore = sandbox::Programs::psql(&tests::sandboxes()).unwrap().with_file_name("pg_restore");
    let mut command = std::process::Command::new(restore);
    command.args(["--file", "/dev/null"]).arg(dump);
    tests::run(command).code == 0
}

async fn kill_drops(seed: u64, victim: impl for<'a> Fn(Victim<'a>) -> Victim<'a>) {
    let stage = Stage::start().await;
    let dumps: PathBuf = stage.fixture.cloud.dir().join("dumps");
    std::fs::create_dir(&dumps).unwrap();
    let file = dumps.join("copy.dump");
    let args = ["tenant", "drop", TENANT, "--name", TENANT, "--dump", file.to_str().unwrap()];
    let victim = victim(Victim::new(&stage.fixture, &args));
    let tenant = stage.tenant(TENANT);
    let prepare = async || {
        take_all(&dumps);
        stage.create(std::slice::from_ref(tenant)).await;
        stage.fill(tenant).await;
    };
    let check = async |place: &str| {
        assert!(!stage.is_there(TENANT).await, "{place}: it is not dropped");
        // Whichever run has dropped it: all that was in it is in each of the files.
        assert!(is_whole(&file), "{place}: {:?}", take_all(&dumps));
        let second = dumps.join("copy-2.dump");
        assert!(!second.exists() || is_whole(&second), "{place}");
        let mut left = take_all(&dumps);
        left.retain(|name| !["copy.dump", "copy-2.dump"].contains(&name.as_str()));
        assert!(left.is_empty(), "{place}: something half written is left: {left:?}");
    };
    kill_again_and_again(&victim, seed, prepare, check).await;
    stage.stop().await;
}

#[test]
fn a_killed_drop_is_finished_by_the_same_command() {
    run(async || kill_drops(2, |victim| victim).await);
}

#[test]
fn a_drop_that_is_killed_while_it_dumps_is_finished_by_the_same_command() {
    run(async || kill_drops(3, |victim| victim.during_statements_of(TENANT, TENANT)).await);
}

#[test]
fn a_killed_release_is_finished_by_the_same_command() {
    run(async || {
        let stage = Stage::start().await;
        let dir = stage.fixture.cloud.dir().join("files");
        std::fs::create_dir(&dir).unwrap();
        let victim = Victim::new(&stage.fixture, &["release", "--yes", "--dir", dir.to_str().unwrap()]);
        let mut version = 0;
        let prepare = async || {
            version += 1;
            let sql = format!("CREATE TABLE t{version} (n int);\nSELECT pg_sleep(0.1);\n");
            std::fs::write(dir.join(format!("V{version}__t{version}.sql")), sql).unwrap();
            stage.remove(stage.tenant(TENANT)).await;
        };
        kill_again_and_again(&victim, 4, prepare, async |_| ()).await;
        stage.fixture.run(&["tenant", "verify"]).await.expect(0);
        let status = ["migrate", "status", "--check", "--dir", dir.to_str().unwrap()];
        stage.fixture.run(&status).await.expect(0);
        stage.stop().await;
    });
}

#[test]
fn a_killed_exec_leaves_no_child_with_a_password() {
    run(async || {
        let stage = Stage::start().await;
        stage.create(stage.tenants()).await;
        let hold = stage.fixture.cloud.dir().join("hold");
        // It does not read or write: nothing tells it that the tunnel is gone.
        let script = format!("echo begun; while [ -e '{}' ]; do sleep 0.05; done", hold.display());
        let victim = Victim::new(&stage.fixture, &["exec", "--tenant", TENANT, "--", "sh", "-c", &script]);
        let course = victim.measure().await;
        let mut random = Random::new(SEED ^ 5);
        for round in 1..=kills() {
            std::fs::write(&hold, "").unwrap();
            let moment = course.moment(&mut random);
            let place = format!("seed {:#x}, round {round}, {moment:?} of {course:?}", SEED ^ 5);
            assert!(victim.kill(moment, &place).await, "{place}: it has ended");
            std::fs::remove_file(&hold).unwrap();
            victim.again(&place).await;
        }
        stage.stop().await;
    });
}

#[test]
fn a_killed_psql_leaves_no_child_and_runs_again() {
    run(async || {
        let stage = Stage::start().await;
        stage.create(stage.tenants()).await;
        let args = ["psql", TENANT, "--", "-c", "SELECT 1", "-c", "SELECT pg_sleep(1)", "-c", "SELECT 2"];
        let victim = Victim::new(&stage.fixture, &args);
        kill_again_and_again(&victim, 6, async || (), async |_| ()).await;
        stage.stop().await;
    });
}

#[test]
fn a_killed_rotation_is_finished_by_the_same_command() {
    run(async || {
        let stage = Stage::start().await;
        stage.create(stage.tenants()).await;
        let victim =
            Victim::new(&stage.fixture, &["secret", "rotate", TENANT, "fintech_experiment", "--yes"]);
        kill_again_and_again(&victim, 7, async || (), async |_| ()).await;
        stage.fixture.run(&["tenant", "verify"]).await.expect(0);
        stage.stop().await;
    });
}

#[test]
fn a_killed_up_is_finished_by_the_same_command() {
    run(async || {
        let fixture = Fixture::start(Want::Databases).await;
        let victim = Victim::new(&fixture, &["up", "--yes"]);
        let prepare = async || {
            let told = |failure: deploy::failure::Failure| failure.render_text();
            deploy::task::down::demolish(&fixture.context).await.map_err(told).unwrap();
        };
        kill_again_and_again(&victim, 8, prepare, async |_| ()).await;
        fixture.run(&["plan", "--check"]).await.expect(0);
        fixture.stop().await;
    });
}

#[test]
fn a_sandbox_whose_start_was_killed_starts_and_stops() {
    run(async || {
        let name = format!("killed-{}", std::process::id());
        let mark = mark();
        let sandbox = async |task: &str| {
            let mut command = tests::program(&["sandbox", task, &format!("--sandbox={name}")]);
            command.env(MARK, &mark);
            tokio::task::spawn_blocking(move || tests::run(command)).await.unwrap()
        };
        let mut random = Random::new(SEED ^ 9);
        for round in 1..=kills() {
            let pause = Duration::from_millis(random.below(1500) as u64);
            let place = format!("seed {:#x}, round {round}, after {pause:?}", SEED ^ 9);
            let start = tests::program(&["sandbox", "start", &format!("--sandbox={name}")]);
            let mut start = tokio::process::Command::from(start);
            start.env(MARK, &mark).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
            let mut start = start.spawn().unwrap();
            tokio::time::sleep(pause).await;
            start.kill().await.unwrap();
            // Whoever comes next finds its process under way, ready, or not begun.
            if random.below(2) == 0 {
                let ran = sandbox("start").await;
                assert_eq!(ran.code, 0, "{place}: {}", ran.stderr);
            }
            within(LIMIT, "nothing of it is left once it was stopped", || async {
                let ran = sandbox("stop").await;
                assert_eq!(ran.code, 0, "{place}: {}", ran.stderr);
                let left = with_mark(&mark);
                // One that has not begun yet when it is stopped is stopped the next time.
                seen(left.is_empty(), format!("{place}: {left:?}"))
            })
            .await;
            assert_eq!(sandbox("status").await.code, 8, "{place}");
        }
        std::fs::remove_dir_all(tests::sandboxes().join(&name)).unwrap();
    });
}
