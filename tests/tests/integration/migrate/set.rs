//! Tenants whose sets of migrations differ, in one run.

use std::path::Path;
use std::sync::Arc;

use db::migrate::{self, Check, Outcome, RunOptions, Target};
use db::migration::MigrationSet;
use serde_json::Value;
use stack::Events;
use tests::{Fixture, STACK_FILE, Want};

use super::{TABLES, applied, failure, tables};
use crate::db::{Database, file, spec};

const OWN: &str = "refinery_schema_history_webshop";

fn webshop(files: &[(&str, &str)]) -> MigrationSet {
    let migrations = files.iter().map(|(name, sql)| file(name, sql)).collect();
    MigrationSet { name: Some("webshop".to_owned()), table: OWN.to_owned(), migrations }
}

fn target(name: &str, set: &Arc<MigrationSet>) -> Target {
    Target { login: spec(name).login(), set: Arc::clone(set), no_login: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_tenant_gets_its_own_set_and_plain_refinery_finds_it_up_to_date() {
    let db = Database::start().await;
    db.create(&[spec("shop"), spec("health")]).await;
    let flat = Arc::new(MigrationSet::flat(tables(2)));
    let own =
        Arc::new(webshop(&[("V1__cart.sql", "CREATE TABLE cart (id int);\n"), ("V2__b.sql", "SELECT 2;\n")]));
    let targets = [target("shop", &own), target("health", &flat)];
    for check in [Check::AllFirst, Check::EachInTurn] {
        let options = RunOptions { check, ..RunOptions::default() };
        let reports = migrate::run_sets(&db.server, &targets, &options, &Events::none()).await;
        if check == Check::AllFirst {
            assert_eq!(applied(&reports[0]), ["V1__cart", "V2__b"]);
            assert_eq!(applied(&reports[1]), ["V1__t1", "V2__t2"]);
        } else {
            assert!(reports.iter().all(|report| matches!(report.outcome, Outcome::UpToDate)), "{reports:?}");
        }
    }
    assert_eq!(db.names(&targets[0].login, TABLES).await, ["cart", OWN]);
    assert_eq!(db.names(&targets[1].login, TABLES).await, ["refinery_schema_history", "t1", "t2"]);
    let plans = migrate::plan_all(&db.server, &targets, &RunOptions::default()).await;
    assert!(
        plans.iter().all(|plan| plan.as_ref().is_ok_and(migrate::TenantPlan::is_up_to_date)),
        "{plans:?}"
    );

    let files: Vec<refinery::Migration> = own
        .migrations
        .iter()
        .map(|file| refinery::Migration::unapplied(&file.to_string(), file.sql()).unwrap())
        .collect();
    let mut plain = refinery::Runner::new(&files).set_abort_divergent(true).set_abort_missing(true);
    plain.set_migration_table_name(OWN);
    let report = plain.run_async(&mut db.plain(&targets[0].login).await).await.unwrap();
    assert!(report.applied_migrations().is_empty(), "{report:?}");

    // What is wrong is told of the table that it is wrong in.
    db.as_owner("shop", &format!("UPDATE {OWN} SET checksum = 'x' WHERE version = 1")).await;
    let reports = migrate::run_sets(&db.server, &targets, &RunOptions::default(), &Events::none()).await;
    let (_, _, error) = failure(&reports[0]);
    assert_eq!(error.to_string(), format!("a row of `{OWN}` cannot be read: checksum `x`"));
    db.as_owner("shop", &format!("REVOKE INSERT ON {OWN} FROM shop_app")).await;
    let reports = migrate::run_sets(&db.server, &targets, &RunOptions::default(), &Events::none()).await;
    let (_, _, error) = failure(&reports[0]);
    assert!(
        error.to_string().contains(&format!("GRANT INSERT ON TABLE public.{OWN} TO shop_app")),
        "{error}"
    );
    db.stop().await;
}

/// A stack with a tenant of the set `webshop` and one of none, and a folder for both.
struct Files {
    stack: String,
    dir: String,
}

impl Files {
    fn new(fixture: &Fixture) -> Files {
        let dir = fixture.cloud.dir().join("sets");
        std::fs::create_dir_all(dir.join("webshop")).unwrap();
        let shipped = std::fs::read_to_string(STACK_FILE).unwrap();
        let (head, _) = shipped.split_once("[[tenant]]").unwrap();
        let stack = fixture.cloud.dir().join("sets.toml");
        let text = "[[tenant]]\nname = \"shop\"\nmigrations = \"webshop\"\n[[tenant]]\nname = \"health\"\n";
        std::fs::write(&stack, format!("{head}{text}")).unwrap();
        Files { stack: stack.display().to_string(), dir: dir.display().to_string() }
    }

    fn write(&self, name: &str, sql: &str) {
        std::fs::write(Path::new(&self.dir).join(name), sql).unwrap();
    }

    async fn migrate(&self, fixture: &Fixture, more: &[&str], code: i32) -> Value {
        let all = [&["migrate", "--json", "--stack", &self.stack], more, &["--dir", &self.dir]].concat();
        fixture.run(&all).await.expect(code).json()
    }
}

fn kinds(answer: &Value) -> Vec<&str> {
    let reports = answer["tenants"].as_array().unwrap().iter();
    reports.map(|report| report["outcome"]["kind"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sets_are_planned_applied_shown_baselined_and_repaired_on_the_command_line() {
    let fixture = Fixture::start(Want::Databases).await;
    let files = Files::new(&fixture);
    fixture.run(&["up", "--yes", "--stack", &files.stack]).await.expect(0);
    fixture.run(&["tenant", "create", "--stack", &files.stack]).await.expect(0);
    files.write("V1__flat.sql", "CREATE TABLE flat (id int);\n");
    files.write("webshop/V1__cart.sql", "CREATE TABLE cart (id int);\n");
    files.write("webshop/V2__sum.sql", "ALTER TABLE cart ADD COLUMN sum int;\n");

    let plan = files.migrate(&fixture, &["--plan"], 0).await;
    assert_eq!(plan["plans"][0]["pending"][1], "V2__sum", "{plan}");
    assert_eq!(plan["plans"][1]["pending"][0], "V1__flat", "{plan}");
    assert_eq!(kinds(&files.migrate(&fixture, &[], 0).await), ["applied", "applied"]);
    assert_eq!(kinds(&files.migrate(&fixture, &[], 0).await), ["up-to-date", "up-to-date"]);

    let status = files.migrate(&fixture, &["status", "--check"], 0).await;
    let sets: Vec<&Value> = status["migrations"].as_array().unwrap().iter().map(|one| &one["set"]).collect();
    assert_eq!(sets, [&Value::Null, &"webshop".into(), &"webshop".into()], "{status}");
    assert_eq!(status["tenants"][0]["set"], "webshop", "{status}");
    assert_eq!(status["tenants"][0]["cells"], serde_json::json!(["none", "applied", "applied"]), "{status}");

    files.write("webshop/V1__cart.sql", "CREATE TABLE cart (id int); -- says more\n");
    let repaired = files.migrate(&fixture, &["--repair", "--yes"], 0).await;
    assert_eq!(repaired["tenants"][0]["repaired"][0]["file"], "V1__cart", "{repaired}");
    let lose = format!("DROP TABLE {OWN}");
    fixture.run(&["psql", "shop", "--stack", &files.stack, "--", "-Xqc", &lose]).await.expect(0);
    // A version is another file in each set.
    let several = ["migrate", "--baseline", "1", "--yes", "--stack", &files.stack, "--dir", &files.dir];
    let refused = fixture.run(&several).await.expect(2);
    assert!(refused.stderr.contains("the files that lie flat, `webshop`"), "{}", refused.stderr);
    let begun = files.migrate(&fixture, &["shop", "--baseline", "2", "--yes"], 0).await;
    assert_eq!(begun["tenants"][0]["recorded"][1], "V2__sum", "{begun}");
    assert_eq!(kinds(&files.migrate(&fixture, &[], 0).await), ["up-to-date", "up-to-date"]);

    files.write("webshop/V3__gone.sql", "DROP TABLE cart;\n");
    let linted = files.migrate(&fixture, &["--lint"], 1).await;
    assert_eq!(linted["files"], 4, "{linted}");
    assert_eq!(linted["findings"][0]["file"], "webshop/V3__gone.sql", "{linted}");
    assert_eq!(files.migrate(&fixture, &["--lint=1"], 0).await["files"], 1);
    fixture.stop().await;
}
