//! `migrate` as a user types it.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;
use tests::{Fixture, STACK_FILE, Want};

use crate::db::until_told;

const TENANT: &str = "startupwebapp_prod";

/// A stack with a canary, and a folder of migrations of one's own.
pub(crate) struct Files {
    dir: PathBuf,
    stack: String,
}

impl Files {
    pub(super) fn new(fixture: &Fixture) -> Files {
        let dir = fixture.cloud.dir().join("files");
        std::fs::create_dir_all(&dir).unwrap();
        let shipped = std::fs::read_to_string(STACK_FILE).unwrap();
        let canary = "name = \"fintech_experiment\"\nlabels = [\"canary\"]";
        let text = shipped.replace("name = \"fintech_experiment\"", canary);
        let stack = fixture.cloud.dir().join("waves.toml");
        std::fs::write(&stack, format!("{text}\n[migrate]\nwaves = [\"canary\", \"rest\"]\n")).unwrap();
        Files { dir, stack: stack.display().to_string() }
    }

    /// Returns an empty folder for the shipped stack, whose tenants are one wave.
    pub(crate) fn flat(fixture: &Fixture) -> Files {
        let dir = fixture.cloud.dir().join("files");
        std::fs::create_dir_all(&dir).unwrap();
        Files { dir, stack: STACK_FILE.to_owned() }
    }

    pub(super) fn remove(&self, name: &str) {
        std::fs::remove_file(self.dir.join(name)).unwrap();
    }

    /// Returns what asks who has what.
    pub(crate) fn status(&self) -> Vec<String> {
        let dir = self.dir.display().to_string();
        ["migrate", "status", "--json", "--stack", &self.stack, "--dir", &dir].map(str::to_owned).to_vec()
    }

    /// Returns a release with these files that leaves the bastion alone.
    pub(crate) fn release(&self) -> Vec<String> {
        let dir = self.dir.display().to_string();
        ["release", "--yes", "--json", "--stack", &self.stack, "--dir", &dir].map(str::to_owned).to_vec()
    }

    pub(crate) fn write(&self, name: &str, sql: &str) {
        std::fs::write(self.dir.join(name), sql).unwrap();
    }

    pub(crate) fn args(&self, more: &[&str]) -> Vec<String> {
        let dir = self.dir.display().to_string();
        let all = [&["migrate", "--json", "--stack", &self.stack, "--dir", &dir], more].concat();
        all.into_iter().map(str::to_owned).collect()
    }

    pub(crate) async fn migrate(&self, fixture: &Fixture, more: &[&str], code: i32) -> Value {
        let args = self.args(more);
        fixture.run(&args.iter().map(String::as_str).collect::<Vec<_>>()).await.expect(code).json()
    }
}

pub(crate) fn kinds(answer: &Value) -> Vec<&str> {
    let reports = answer["tenants"].as_array().unwrap().iter();
    reports.map(|report| report["outcome"]["kind"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waves_partitions_baselines_repairs_and_ctrl_c_on_the_command_line() {
    let fixture = Fixture::start(Want::Databases).await;
    fixture.run(&["up", "--yes"]).await.expect(0);
    fixture.run(&["tenant", "create"]).await.expect(0);
    let files = Files::new(&fixture);
    files.write("V1__a.sql", "CREATE TABLE a (id int);\n");

    // Two partitions are everybody, once.
    let first = files.migrate(&fixture, &["--partition", "1/2"], 0).await;
    let second = files.migrate(&fixture, &["--partition", "2/2"], 0).await;
    let both = [kinds(&first), kinds(&second)].concat();
    assert_eq!(both, ["applied"; 3], "{first} {second}");

    // The canary is the last in the file and the first to be migrated.
    files.write("V2__b.sql", "SELECT 1 / (current_database() <> 'fintech_experiment')::int;\n");
    let held = files.migrate(&fixture, &[], 6).await;
    assert_eq!(kinds(&held), ["not-started", "not-started", "failed"], "{held}");
    let paid = files.migrate(&fixture, &["--error-budget", "1"], 7).await;
    assert_eq!(kinds(&paid), ["applied", "applied", "failed"], "{paid}");

    // A changed file stops a tenant until its difference was seen and confirmed.
    files.write("V1__a.sql", "CREATE TABLE a (id int); -- says more\n");
    let stopped = files.migrate(&fixture, &[TENANT, "--check-first"], 6).await;
    assert_eq!(kinds(&stopped), ["failed"], "{stopped}");
    let asked = files.args(&[TENANT, "--repair"]);
    let asked = fixture.run(&asked.iter().map(String::as_str).collect::<Vec<_>>()).await.expect(2);
    assert!(asked.stderr.contains("V1__a") && asked.stderr.contains("--yes"), "{}", asked.stderr);
    let repaired = files.migrate(&fixture, &[TENANT, "--repair", "--yes"], 0).await;
    assert_eq!(repaired["tenants"][0]["repaired"][0]["file"], "V1__a", "{repaired}");
    let fits = files.migrate(&fixture, &[TENANT], 0).await;
    assert_eq!(kinds(&fits), ["up-to-date"], "{fits}");

    // A database whose history is lost begins with a baseline.
    let lose = ["psql", TENANT, "--", "-Xqc", "DROP TABLE refinery_schema_history"];
    fixture.run(&lose).await.expect(0);
    files.migrate(&fixture, &[TENANT], 6).await;
    let begun = files.migrate(&fixture, &[TENANT, "--baseline", "2", "--yes"], 0).await;
    assert_eq!(begun["tenants"][0]["recorded"][1], "V2__b", "{begun}");
    assert_eq!(kinds(&files.migrate(&fixture, &[TENANT], 0).await), ["up-to-date"]);

    // Ctrl-C in the middle: rolled back, said, and the same command goes on.
    files.write("V3__slow.sql", "CREATE TABLE half (id int);\nSELECT pg_sleep(600);\n");
    let args = files.args(&[TENANT]);
    let mut command = fixture.program(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let asleep = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()";
    until_told(&fixture, asleep, "1").await;
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let ended = tests::ended("a run that is interrupted", child).await;
    assert_eq!(ended.status.code(), Some(130));
    let said: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(said["tenants"][0]["outcome"]["state"], "what was in flight is rolled back", "{said}");
    files.write("V3__slow.sql", "CREATE TABLE half (id int);\n");
    assert_eq!(kinds(&files.migrate(&fixture, &[TENANT], 0).await), ["applied"]);
    fixture.stop().await;
}
