//! Every task as a user types it, over two honest tenants and one that tries whatever it may.

use db::{ConnectOptions, Login, SearchPath, Server, Session, connect};
use deploy::bridge::Bridge;
use deploy::tenants;
use serde_json::Value;
use tests::{Fixture, Ran, Want};

use super::RIGHTS;
use super::forgery::FORGED;
use super::takeover::{CAUGHT, traps};
use crate::migrate::program::{Files, kinds};

/// The hostile tenant is the second of three, and so are its outcomes.
const EVIL: &str = "healthtech_experiment";
const HONEST: [&str; 2] = ["startupwebapp_prod", "fintech_experiment"];

/// The names of 63 bytes, and those that are meant to be taken for something else.
fn names() -> String {
    let long = "n".repeat(63);
    format!(
        "CREATE SCHEMA \"x'; touch taken; echo '\"; CREATE TABLE \"x'; touch taken; echo '\".\"{long}\" (n int);
         CREATE TABLE public.\"ddl_command_end\" (n int); CREATE FUNCTION public.\"sql_drop\"() RETURNS int
             LANGUAGE sql AS 'SELECT 1';
         CREATE TABLE public.\"\x1b[2J\r\nhint: run `sh`\" (n int);
         CREATE TYPE public.weight AS (n int); CREATE FUNCTION public.weigh(public.weight) RETURNS text
             LANGUAGE sql AS 'SELECT ''heavy''::text';
         CREATE CAST (public.weight AS text) WITH FUNCTION public.weigh(public.weight) AS IMPLICIT;
         CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $f$
         BEGIN RAISE EXCEPTION 'not with me' USING HINT = E'run `sh`\\nerror: all is lost'; END $f$;
         CREATE TRIGGER refuse BEFORE INSERT ON public.refinery_schema_history
             FOR EACH ROW EXECUTE FUNCTION public.refuse();
         GRANT CREATE ON SCHEMA public TO PUBLIC;"
    )
}

/// What a role and a database may carry into each session.
const SETTINGS: &str = "
    ALTER ROLE healthtech_experiment SET search_path = forged, public, pg_catalog;
    ALTER ROLE healthtech_experiment SET quote_all_identifiers = on;
    ALTER ROLE healthtech_experiment SET standard_conforming_strings = off;
    ALTER ROLE healthtech_experiment SET \"DateStyle\" = 'German';
    ALTER ROLE healthtech_experiment SET \"IntervalStyle\" = 'sql_standard';
    ALTER ROLE healthtech_experiment SET \"TimeZone\" = 'Asia/Kolkata';
    ALTER ROLE healthtech_experiment SET client_encoding = 'LATIN1';
    ALTER ROLE healthtech_experiment SET bytea_output = 'escape';
    ALTER ROLE healthtech_experiment SET transform_null_equals = on;
    ALTER ROLE healthtech_experiment SET array_nulls = off;
    ALTER ROLE healthtech_experiment SET exit_on_error = on;
    ALTER ROLE healthtech_experiment SET client_min_messages = 'debug5';
    ALTER DATABASE healthtech_experiment SET row_security = off;
    ALTER DATABASE healthtech_experiment SET default_transaction_isolation = 'serializable';
    ALTER DATABASE healthtech_experiment SET search_path = forged, public, pg_catalog";

/// The locks of those who create, and of a release.
const LOCKS: &str =
    "SELECT pg_advisory_lock(x'6472617700000001'::int8), pg_advisory_lock(x'6472617700000010'::int8)";

struct Stage {
    fixture: Fixture,
    files: Files,
    bridge: Bridge,
    server: Server,
    evil: Login,
}

impl Stage {
    async fn start() -> Stage {
        let fixture = Fixture::start(Want::Databases).await;
        fixture.run(&["up", "--yes"]).await.expect(0);
        fixture.run(&["tenant", "create"]).await.expect(0);
        let files = Files::flat(&fixture);
        files.write("V1__first.sql", "CREATE TABLE first (n int);\n");
        files.migrate(&fixture, &[], 0).await;
        let upgraded = ["psql", "--", "-Xqc", super::AS_UPGRADED];
        fixture.run(&upgraded).await.expect(0);
        let context = &fixture.context;
        let (cloud, inventory) = context.observe().await.unwrap();
        let bridge = Bridge::to_database(context, &cloud, &inventory).await.unwrap();
        let server = bridge.server(context).unwrap();
        let evil = context.stack.tenants.iter().filter(|one| one.name == EVIL).cloned().collect::<Vec<_>>();
        let evil = tenants::specs(context, &cloud, &evil).await.unwrap().remove(0).unwrap().login();
        Stage { fixture, files, bridge, server, evil }
    }

    /// Connects as the hostile tenant.
    async fn evil(&self, database: &str) -> Session {
        let login = Login { database: database.to_owned(), ..self.evil.clone() };
        let options =
            ConnectOptions { search_path: SearchPath::Own, silence_limit: None, ..ConnectOptions::default() };
        connect(&self.server, &login, &options).await.unwrap()
    }

    async fn master(&self, sql: &str) -> Vec<String> {
        let ran = self.fixture.run(&["psql", "--", "-XAtc", sql]).await.expect(0);
        ran.stdout.lines().map(str::to_owned).collect()
    }

    async fn run(&self, args: &[&str], code: i32) -> Ran {
        let ran = self.fixture.run(args).await.expect(code);
        assert!(!std::path::Path::new("taken").exists(), "a name was run");
        ran
    }

    /// Runs a task with the folder of migrations.
    async fn with_files(&self, args: Vec<String>, code: i32) -> Value {
        self.run(&args.iter().map(String::as_str).collect::<Vec<_>>(), code).await.json()
    }
}

fn verdicts(answer: &Value, tenant: &str) -> Vec<(String, String)> {
    let all = answer["tenants"].as_array().unwrap();
    let one = all.iter().find(|one| one["tenant"] == tenant).unwrap_or_else(|| panic!("{answer}"));
    let text = |check: &Value, key: &str| check[key].as_str().unwrap().to_owned();
    let checks = one["checks"].as_array().unwrap();
    checks.iter().map(|check| (text(check, "name"), text(check, "verdict"))).collect()
}

/// The honest ones are in order, the hostile one is told to be open.
fn expect_told(answer: &Value) {
    for name in HONEST {
        let wrong = verdicts(answer, name).into_iter().find(|(_, verdict)| verdict != "pass");
        assert_eq!(wrong, None, "{answer}");
    }
    let open = ("schema public closed to PUBLIC".to_owned(), "fail".to_owned());
    assert!(verdicts(answer, EVIL).contains(&open), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hostile_tenant_gains_nothing_forges_nothing_and_keeps_nobody() {
    let stage = Stage::start().await;
    let (postgres, own) = (stage.evil("postgres").await, stage.evil(EVIL).await);
    postgres.client().batch_execute(&traps(EVIL)).await.unwrap();
    postgres.client().batch_execute(LOCKS).await.unwrap();
    for sql in [FORGED, &names(), SETTINGS] {
        own.client().batch_execute(sql).await.unwrap();
    }
    let before = stage.master(RIGHTS).await;

    let created = stage.run(&["tenant", "create", "--json"], 0).await;
    let outcomes = created.json();
    let unchanged = outcomes["tenants"].as_array().unwrap().iter();
    assert!(unchanged.clone().all(|one| one["outcome"]["kind"] == "unchanged"), "{outcomes}");
    assert!(created.stderr.contains("its session was ended"), "{}", created.stderr);
    assert!(postgres.client().is_closed(), "its locks are held still");
    let told = stage.run(&["tenant", "verify", "--json"], 7).await.json();
    expect_told(&told);
    stage.run(&["tenant", "list"], 0).await;
    let links = stage.run(&["doctor", "--json"], 0).await.json();
    assert_eq!(links["healthy"], true, "{links}");

    let status = stage.with_files(stage.files.status(), 0).await;
    let drift = |at: usize| status["tenants"][at]["drift"].as_array().unwrap();
    assert!(drift(0).is_empty() && drift(2).is_empty(), "{status}");
    assert!(drift(1).iter().any(|one| one.as_str().unwrap().contains("PUBLIC has CREATE")), "{status}");

    stage.files.write("V2__second.sql", "CREATE TABLE second (n int);\n");
    stage.with_files(stage.files.args(&["--plan"]), 0).await;
    let migrated = stage.with_files(stage.files.args(&[]), 7).await;
    assert_eq!(kinds(&migrated), ["applied", "failed", "applied"], "{migrated}");
    stage.files.write("V3__third.sql", "CREATE TABLE third (n int);\n");
    let joined = stage.with_files(stage.files.args(&["--join", "one"]), 7).await;
    assert_eq!(kinds(&joined), ["applied", "failed", "applied"], "{joined}");

    // It keeps its own role locked while passwords are set.
    own.client().batch_execute("BEGIN; ALTER ROLE healthtech_experiment PASSWORD 'mine'").await.unwrap();
    let rotated = stage.run(&["secret", "rotate", "--all", "--yes", "--json"], 7).await.json();
    let failed = |one: &&Value| one.to_string().contains("\"failed\"");
    let all: Vec<&Value> =
        rotated["roles"].as_array().unwrap_or_else(|| panic!("{rotated}")).iter().collect();
    assert_eq!(all.iter().filter(|one| failed(one)).count(), 1, "{rotated}");
    own.close().await;
    stage.run(&["secret", "rotate", EVIL, "--yes"], 0).await;

    stage.files.write("V4__fourth.sql", "CREATE TABLE fourth (n int);\n");
    let released = stage.with_files(stage.files.release(), 7).await;
    assert_eq!((&released["exit"], &released["verified"]), (&7.into(), &2.into()), "{released}");
    let told = stage.run(&["tenant", "verify", "--json"], 7).await.json();
    expect_told(&told);
    let gone = HONEST[1];
    stage.run(&["tenant", "drop", gone, "--name", gone, "--no-dump", "--yes"], 0).await;

    let after = stage.master(RIGHTS).await;
    let is_gone = |row: &&String| row.split(' ').any(|word| word == gone);
    let left: Vec<&String> = before.iter().filter(|row| !is_gone(row)).collect();
    assert_eq!(after.iter().collect::<Vec<_>>(), left);
    assert_eq!(stage.master(CAUGHT).await, Vec::<String>::new());
    let Stage { fixture, bridge, server, .. } = stage;
    drop(server);
    bridge.close().await;
    fixture.stop().await;
}
