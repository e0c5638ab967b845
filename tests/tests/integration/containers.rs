//! LocalStack, PostgreSQL and a bastion in containers, and what goes wrong between them.

mod user_data;

use std::time::Duration;

use tests::{Fixture, Images, Line, Ran, block_on, until_called};

use crate::db::until_told;

/// Starts the containers; `None` where there are no images.
async fn start() -> Option<Fixture> {
    Some(Fixture::start_containers(Images::find()?).await)
}

// One set of containers for all that leaves them as they are, and what empties the account after that: each set costs as much
// as a hundred other tests.
#[test]
fn the_whole_job_on_localstack() {
    block_on(async {
        let Some(fixture) = start().await else { return };
        crate::flow::whole_job(&fixture, async |fixture| {
            let containers = fixture.cloud.containers();
            assert_eq!(containers.published().await, "", "the database is in the bastion's reach alone");
            an_extension_of_one_tenant_is_told(fixture).await;
            tunnels_and_shells_lead_into_the_bastion(fixture).await;
        })
        .await;
        let (own, counted) = fixture.cloud.containers().requests().await;
        assert!(own.iter().any(|call| call.operation == "RunInstances"), "{own:?}");
        assert!(
            own.len() > 100 && own == counted,
            "LocalStack tells of {}, we of {}",
            own.len(),
            counted.len()
        );
        an_account_that_is_emptied_in_the_middle_of_up_is_filled_again(&fixture).await;
        fixture.stop().await;
    });
}

async fn tunnels_and_shells_lead_into_the_bastion(fixture: &Fixture) {
    crate::flow::tunnel_of_two_sessions(fixture).await;
    // The one place from which the database's name resolves, and no port of it is published.
    let (_, inventory) = fixture.context.observe().await.expect("the account can be observed");
    let endpoint = inventory.database.and_then(|database| database.endpoint).expect("it has one").0;
    let ran = fixture.run(&["bastion", "shell", "--", "getent", "hosts", &endpoint]).await.expect(0);
    assert!(ran.stdout.contains(&endpoint), "{ran:?}");
    assert_eq!(fixture.cloud.gateway().live_sessions(), 0);
}

/// What others of its set have not is drift, told with the command that ends it. The sandbox's wheel has no extension that
/// a tenant may install.
async fn an_extension_of_one_tenant_is_told(fixture: &Fixture) {
    fixture.run(&["migrate", "status", "--check"]).await.expect(0);
    fixture.run(&["psql", TENANT, "--", "-Xqc", "CREATE EXTENSION hstore"]).await.expect(0);
    let status = fixture.run(&["migrate", "status", "--check", "--json"]).await.expect(8).json();
    let drift = |tenant: &serde_json::Value| tenant["drift"].to_string();
    let (has, others): (Vec<_>, Vec<_>) = status["tenants"]
        .as_array()
        .expect("it is a list")
        .iter()
        .partition(|tenant| tenant["tenant"] == TENANT);
    let mend = "DROP EXTENSION \"hstore\"";
    let said = drift(has[0]).replace('\\', "");
    assert!(said.contains("not there in 2 of 3 tenants") && said.contains(mend), "{status}");
    assert!(others.iter().all(|tenant| drift(tenant) == "[]"), "{status}");
    fixture.run(&["psql", TENANT, "--", "-Xqc", mend]).await.expect(0);
    fixture.run(&["migrate", "status", "--check"]).await.expect(0);
}

/// A first migration that is done, and a second that is in the middle of its work until somebody ends it. Both are of one
/// group: all of it, or nothing.
const DONE: &str = "CREATE TABLE half (n int);\n";
const SLOW: &str = "INSERT INTO half VALUES (1);\nSELECT pg_sleep(600);\n";

/// Creates a tenant, begins a migration that hangs, does that to the cloud in its middle, and returns what the program said.
/// The migration is mended then.
async fn break_migration(
    fixture: &Fixture,
    tenant: &str,
    breaking: impl AsyncFnOnce(&tests::Containers),
) -> Ran {
    fixture.run(&["tenant", "create", tenant]).await.expect(0);
    let folder = folder(fixture);
    std::fs::create_dir_all(&folder).expect("the cloud has a folder");
    let write = |name: &str, sql: &str| {
        std::fs::write(folder.join(name), sql).expect("a migration can be written");
    };
    write("V1__done.sql", DONE);
    write("V2__slow.sql", SLOW);
    let migrating = migrate(fixture, tenant);
    let breaking = async {
        wait_until_asleep(fixture).await;
        breaking(fixture.cloud.containers()).await;
    };
    let (ran, ()) = tokio::join!(migrating, breaking);
    write("V2__slow.sql", &SLOW.replace("600", "0"));
    ran
}

fn folder(fixture: &Fixture) -> std::path::PathBuf {
    fixture.cloud.dir().join("migrations")
}

async fn migrate(fixture: &Fixture, tenant: &str) -> Ran {
    fixture.run(&["migrate", tenant, "--dir", &folder(fixture).display().to_string(), "--json"]).await
}

/// Checks that nothing is left of a migration that was broken, and that the next run does all of it.
async fn go_on(fixture: &Fixture, tenant: &str) {
    assert!(!has_table(fixture, tenant).await, "half of a group is left");
    migrate(fixture, tenant).await.expect(0);
    assert!(has_table(fixture, tenant).await);
}

const TENANT: &str = "startupwebapp_prod";

/// Waits until the migration hangs.
async fn wait_until_asleep(fixture: &Fixture) {
    let query = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()";
    until_told(fixture, query, "1").await;
}

/// Says whether the migration's table is there.
async fn has_table(fixture: &Fixture, tenant: &str) -> bool {
    let query = "SELECT to_regclass('half') IS NOT NULL";
    fixture.run(&["psql", tenant, "--", "-XAtc", query]).await.expect(0).stdout.trim() == "t"
}

/// One set of containers for what goes wrong between them, one thing after the other.
#[test]
fn whatever_breaks_between_the_containers_leaves_nothing_half_done() {
    block_on(async {
        let Some(fixture) = start().await else { return };
        fixture.run(&["up", "--yes"]).await.expect(0);
        what_breaks_in_a_migration_leaves_nothing_of_it_and_is_gone_on_from(&fixture).await;
        a_slow_network_that_loses_frames_takes_longer_and_breaks_nothing(&fixture).await;
        fixture.stop().await;
    });
}

async fn an_account_that_is_emptied_in_the_middle_of_up_is_filled_again(fixture: &Fixture) {
    let gateway = fixture.cloud.gateway();
    let before = gateway.journal().len();
    let creates_a_database =
        until_called(gateway, before, "a database is created", |call| call.operation == "CreateDBInstance");
    let mut up = std::pin::pin!(fixture.run(&["up", "--yes"]));
    tokio::select! {
        ran = &mut up => panic!("it creates no database: {ran:?}"),
        () = creates_a_database => (),
    }
    let (ran, ()) = tokio::join!(up, fixture.cloud.containers().restart_localstack());
    assert!(!ran.stderr.contains("panicked"), "{ran:?}");
    // AWS's refusal (4) or no session (5), told by what is not there any more; or it had no need of that.
    // The lock went with the account.
    let causes = [
        "NotFound",
        "not found",
        "does not exist",
        "is gone",
        "NotConnected",
        "cannot reach LocalStack",
        "the stack's lock of this run is gone",
    ];
    let is_clear = ran.stderr.contains("error: ") && causes.iter().any(|cause| ran.stderr.contains(cause));
    assert!(ran.code == 0 || matches!(ran.code, 4 | 5) && is_clear, "{ran:?}");
    // RDS was not emptied, which no account can be: the database is in a VPC that is gone, and has a password that
    // nobody knows any more.
    fixture.run(&["up", "--yes"]).await.expect(0);
    fixture.run(&["tenant", "create", TENANT]).await.expect(0);
    fixture.run(&["down", "--yes"]).await.expect(0);
    fixture.run(&["audit"]).await.expect(0);
}

/// A server that dies, a bastion that dies, a database that is cut off: in the middle of a migration of one tenant each.
async fn what_breaks_in_a_migration_leaves_nothing_of_it_and_is_gone_on_from(fixture: &Fixture) {
    let containers = fixture.cloud.containers();

    let tenant = TENANT;
    let ran = break_migration(fixture, tenant, async |cloud| cloud.kill_databases().await).await.expect(6);
    assert!(ran.stdout.contains(tenant), "{}", ran.stdout);
    containers.start_databases().await;
    go_on(fixture, tenant).await;

    let tenant = "healthtech_experiment";
    break_migration(fixture, tenant, async |cloud| cloud.kill_bastions().await).await.expect(6);
    containers.start_bastions().await;
    fixture.run(&["up", "--yes"]).await.expect(0);
    go_on(fixture, tenant).await;

    // The server learns by itself that its client is gone, and frees the lock while we ask for it.
    let tenant = "fintech_experiment";
    break_migration(fixture, tenant, async |cloud| cloud.cut_off_databases().await).await.expect(6);
    containers.join_databases().await;
    go_on(fixture, tenant).await;
}

async fn a_slow_network_that_loses_frames_takes_longer_and_breaks_nothing(fixture: &Fixture) {
    let shipped = std::fs::read_to_string(tests::STACK_FILE).expect("the stack file is there");
    let stack = fixture.cloud.dir().join("stack.toml");
    // Of the three that the file has, each has the tables of its broken migration.
    let tenants = ["far_away", "farther_away", "out_of_sight"];
    let more: String = tenants.map(|name| format!("\n[[tenant]]\nname = \"{name}\"\n")).concat();
    std::fs::write(&stack, shipped + &more).expect("the cloud has a folder");
    let run = async |args: &[&str]| {
        let stack = ["--stack", stack.to_str().expect("the folder's name is UTF-8")];
        fixture.run(&[&stack[..], args].concat()).await.expect(0)
    };
    run(&["bastion", "stop", "--yes"]).await;
    fixture.cloud.containers().set_line(Line { loss: 0.02, jitter: Duration::from_millis(100) });
    run(&["bastion", "start"]).await;
    let how = fixture.cloud.containers().slow_down_bastions().await;
    assert!(how.contains("netem") || how.contains("tbf"), "{how}");
    for task in [&["tenant", "create"][..], &["migrate"], &["tenant", "verify"]] {
        run(&[task, &tenants].concat()).await;
    }
    let query = "INSERT INTO account (email, full_name) SELECT n || '@example.com', 'name' FROM generate_series(1, 2000) n RETURNING email";
    let ran = run(&["psql", tenants[0], "--", "-XAtqc", query]).await;
    assert_eq!(ran.stdout.lines().count(), 2000, "a byte is lost");
}
