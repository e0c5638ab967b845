//! `migrate --join` as many machines type it.

use std::process::{Child, Output, Stdio};

use deploy::bridge::{self, Bridge};
use serde_json::Value;
use tests::{Fixture, Want};

use super::program::{Files, kinds};
use crate::db::until_told;

const TENANT: &str = "startupwebapp_prod";

impl Files {
    fn join(&self, fixture: &Fixture, more: &[&str]) -> Child {
        let args = self.args(&[&["--join"], more].concat());
        let mut command = fixture.program(&args.iter().map(String::as_str).collect::<Vec<_>>());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

async fn ended(child: Child) -> Output {
    tests::ended("a runner", child).await
}

async fn succeeded(child: Child) -> Value {
    let Output { status, stdout, stderr } = ended(child).await;
    assert_eq!(status.code(), Some(0), "{}", String::from_utf8_lossy(&stderr));
    serde_json::from_slice(&stdout).unwrap()
}

/// Sessions that wait for an advisory lock.
const BLOCKED: &str = "wait_event_type = 'Lock' AND wait_event = 'advisory'";

async fn wait_until(fixture: &Fixture, condition: &str) {
    wait_until_one(fixture, &format!("SELECT count(*) FROM pg_stat_activity WHERE {condition}")).await;
}

async fn wait_until_one(fixture: &Fixture, sql: &str) {
    until_told(fixture, sql, "1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_processes_are_one_run_and_the_tenants_of_one_that_is_killed_are_taken_over() {
    let fixture = Fixture::start(Want::Databases).await;
    fixture.run(&["up", "--yes"]).await.expect(0);
    fixture.run(&["tenant", "create"]).await.expect(0);
    let files = Files::new(&fixture);
    files.write("V1__a.sql", "CREATE TABLE a (id int);\n");

    let children: Vec<Child> = (0..8).map(|_| files.join(&fixture, &["build-1", "--jobs", "1"])).collect();
    let mut said = Vec::new();
    for child in children {
        said.push(succeeded(child).await);
    }
    assert_eq!(kinds(&said[0]), ["applied"; 3], "{}", said[0]);
    assert_eq!((&said[0]["run"], &said[0]["failed"]), (&Value::from("build-1"), &Value::from(0)));
    assert!(said[0]["tenants"][0]["runner"].is_string(), "{}", said[0]);
    assert!(said.iter().all(|one| *one == said[0]), "{said:#?}");

    // Where there is room nothing is told of it; a role that is no monitor sees less.
    let (cloud, inventory) = fixture.context.observe().await.unwrap();
    let bridge = Bridge::to_database(&fixture.context, &cloud, &inventory).await.unwrap();
    let server = bridge.server(&fixture.context).unwrap();
    let tenants = &fixture.context.stack.tenants;
    let master = bridge::master(&fixture.context, &cloud).await.unwrap();
    let whole = db::disk::find_usage(&server, &master).await.unwrap();
    assert!(whole.bytes > 4 * 5_000_000 && whole.unknown == 0, "{whole:?}");
    let tenant = bridge::owner(&fixture.context, &cloud, &tenants[0]).await.unwrap();
    let part = db::disk::find_usage(&server, &tenant).await.unwrap();
    assert!(
        part.bytes < whole.bytes && part.unknown == 4,
        "the other tenants' two and the server's own: {part:?}"
    );
    drop(server);
    bridge.close().await;

    // A process that is killed in the middle of a tenant. The session that it had lives on, and so does what it sent.
    files.write("V2__half.sql", "CREATE TABLE half (id int);\nSELECT pg_advisory_xact_lock(7);\n");
    let hold = ["psql", TENANT, "--", "-Xqc", "SELECT pg_advisory_lock(7)", "-c", "SELECT pg_sleep(600)"];
    let holder = fixture.program(&hold).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until(&fixture, "wait_event = 'PgSleep'").await;
    let mut killed = files.join(&fixture, &["build-2", "--jobs", "3", "--lease", "2"]);
    wait_until(&fixture, BLOCKED).await;
    killed.kill().unwrap();
    ended(killed).await;
    let report = fixture.cloud.dir().join("report.xml");
    let next = files.join(&fixture, &["build-2", "--lease", "2", "--junit", report.to_str().unwrap()]);
    let taken_over = "SELECT count(*) FROM drawbridge.run_tenant WHERE state = 'taken' AND attempts = 2";
    wait_until_one(&fixture, taken_over).await;
    wait_until(&fixture, BLOCKED).await;
    let free = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    fixture.run(&["psql", TENANT, "--", "-XAtc", free]).await.expect(0);
    ended(holder).await;
    let next = succeeded(next).await;
    assert_eq!(next["failed"], 0, "{next}");
    let xml = std::fs::read_to_string(report).unwrap();
    assert_eq!(xml.matches("<property name=\"runner\"").count(), 3, "{xml}");
    let done = "SELECT count(*) FROM refinery_schema_history WHERE to_regclass('half') IS NOT NULL";
    let done = fixture.run(&["psql", TENANT, "--", "-XAtc", done]).await.expect(0);
    assert_eq!(done.stdout.trim(), "2");

    // Other files are another run.
    files.write("V3__b.sql", "CREATE TABLE b (id int);\n");
    let refused = ended(files.join(&fixture, &["build-2"])).await;
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{text}");
    assert!(text.contains("run `build-2` cannot be joined: ") && text.contains("other migrations"), "{text}");
    fixture.stop().await;
}
