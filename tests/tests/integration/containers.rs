//! LocalStack, PostgreSQL and a bastion in containers, and what goes wrong between them.

use std::time::Duration;

use tests::{Fixture, Images, Line, Ran, block_on};

/// Starts the containers; `None` where there are no images.
async fn start() -> Option<Fixture> {
    Some(Fixture::start_containers(Images::find()?).await)
}

#[test]
fn the_whole_job_on_localstack() {
    block_on(async {
        let Some(fixture) = start().await else { return };
        crate::flow::whole_job(fixture, async |fixture| {
            let containers = fixture.cloud.containers();
            assert_eq!(containers.published().await, "", "the database is in the bastion's reach alone");
            an_extension_of_one_tenant_is_told(fixture).await;
        })
        .await;
    });
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

#[test]
fn tunnels_and_shells_lead_into_the_bastions_container() {
    block_on(async {
        let Some(fixture) = start().await else { return };
        fixture.run(&["up", "--yes"]).await.expect(0);
        crate::flow::tunnel_of_two_sessions(&fixture).await;
        // The one place from which the database's name resolves, and no port of it is published.
        let (_, inventory) = fixture.context.observe().await.expect("the account can be observed");
        let endpoint = inventory.database.and_then(|database| database.endpoint).expect("it has one").0;
        let ran = fixture.run(&["bastion", "shell", "--", "getent", "hosts", &endpoint]).await.expect(0);
        assert!(ran.stdout.contains(&endpoint), "{ran:?}");
        assert_eq!(fixture.cloud.gateway().live_sessions(), 0);
        fixture.stop().await;
    });
}

#[test]
fn the_log_of_localstack_agrees_with_the_gateways_count() {
    block_on(async {
        let Some(fixture) = start().await else { return };
        fixture.run(&["up", "--yes"]).await.expect(0);
        fixture.run(&["down", "--yes"]).await.expect(0);
        let (own, counted) = fixture.cloud.containers().requests().await;
        assert!(own.iter().any(|call| call.operation == "RunInstances"), "{own:?}");
        assert!(
            own.len() > 100 && own == counted,
            "LocalStack tells of {}, we of {}",
            own.len(),
            counted.len()
        );
        fixture.stop().await;
    });
}

/// A first migration that is done, and a second that is in the middle of its work until somebody ends it. Both are of one
/// group: all of it, or nothing.
const DONE: &str = "CREATE TABLE half (n int);\n";
const SLOW: &str = "INSERT INTO half VALUES (1);\nSELECT pg_sleep(600);\n";

/// Brings one tenant up, begins a migration that hangs, does that to the cloud in its middle, and returns what the
/// program said and a folder with the migration mended.
async fn break_migration(fixture: &Fixture, breaking: impl AsyncFnOnce(&tests::Containers)) -> (Ran, String) {
    fixture.run(&["up", "--yes"]).await.expect(0);
    fixture.run(&["tenant", "create", TENANT]).await.expect(0);
    let dir = fixture.cloud.dir().join("migrations");
    std::fs::create_dir_all(&dir).expect("the cloud has a folder");
    std::fs::write(dir.join("V1__done.sql"), DONE).expect("a migration can be written");
    std::fs::write(dir.join("V2__slow.sql"), SLOW).expect("a migration can be written");
    let folder = dir.display().to_string();
    let args = ["migrate", TENANT, "--dir", &folder, "--json"];
    let migrating = fixture.run(&args);
    let breaking = async {
        wait_until_asleep(fixture).await;
        breaking(fixture.cloud.containers()).await;
    };
    let (ran, ()) = tokio::join!(migrating, breaking);
    std::fs::write(dir.join("V2__slow.sql"), SLOW.replace("600", "0")).expect("a migration can be mended");
    (ran, folder)
}

const TENANT: &str = "startupwebapp_prod";

/// Waits until the migration hangs.
async fn wait_until_asleep(fixture: &Fixture) {
    let query = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()";
    loop {
        let ran = fixture.run(&["psql", "--", "-XAtc", query]).await.expect(0);
        if ran.stdout.trim() == "1" {
            return;
        }
    }
}

/// Says whether the migration's table is there.
async fn has_table(fixture: &Fixture) -> bool {
    let query = "SELECT to_regclass('half') IS NOT NULL";
    fixture.run(&["psql", TENANT, "--", "-XAtc", query]).await.expect(0).stdout.trim() == "t"
}

#[test]
fn a_server_that_dies_in_a_migration_leaves_nothing_of_it() {
    block_on(async {
        let Some(fixture) = start().await else { return };
        let (ran, folder) = break_migration(&fixture, async |cloud| cloud.kill_databases().await).await;
        let ran = ran.expect(6);
        assert!(ran.stdout.contains(TENANT), "{}", ran.stdout);
        fixture.cloud.containers().start_databases().await;
        assert!(!has_table(&fixture).await, "half of a group is left");
        fixture.run(&["migrate", TENANT, "--dir", &folder]).await.expect(0);
        assert!(has_table(&fixture).await);
        fixture.stop().await;
    });
}

#[test]
fn a_bastion_that_dies_in_a_migration_leaves_nothing_of_it() {
    block_on(async {
        let Some(fixture) = start().await else { return };
        let (ran, folder) = break_migration(&fixture, async |cloud| cloud.kill_bastions().await).await;
        ran.expect(6);
        fixture.cloud.containers().start_bastions().await;
        fixture.run(&["up", "--yes"]).await.expect(0);
        assert!(!has_table(&fixture).await, "half of a group is left");
        fixture.run(&["migrate", TENANT, "--dir", &folder]).await.expect(0);
        assert!(has_table(&fixture).await);
        fixture.stop().await;
    });
}

#[test]
fn a_database_that_is_cut_off_in_a_migration_is_given_up_and_gone_on_from() {
    block_on(async {
        let Some(fixture) = start().await else { return };
        let (ran, folder) = break_migration(&fixture, async |cloud| cloud.cut_off_databases().await).await;
        ran.expect(6);
        fixture.cloud.containers().join_databases().await;
        assert!(!has_table(&fixture).await, "half of a group is left");
        // The server learns by itself that its client is gone, and frees the lock while we ask for it.
        fixture.run(&["migrate", TENANT, "--dir", &folder]).await.expect(0);
        assert!(has_table(&fixture).await);
        fixture.stop().await;
    });
}

#[test]
fn a_slow_network_that_loses_frames_takes_longer_and_breaks_nothing() {
    block_on(async {
        let Some(images) = Images::find() else { return };
        let line = Line { loss: 0.02, jitter: Duration::from_millis(100) };
        let fixture = Fixture::start_containers_on(line, images).await;
        fixture.run(&["up", "--yes"]).await.expect(0);
        let how = fixture.cloud.containers().slow_down_bastions().await;
        assert!(how.contains("netem") || how.contains("tbf"), "{how}");
        fixture.run(&["tenant", "create"]).await.expect(0);
        fixture.run(&["migrate"]).await.expect(0);
        fixture.run(&["tenant", "verify"]).await.expect(0);
        let query = "INSERT INTO account (email, full_name) SELECT n || '@example.com', 'name' FROM generate_series(1, 2000) n RETURNING email";
        let ran = fixture.run(&["psql", TENANT, "--", "-XAtqc", query]).await.expect(0);
        assert_eq!(ran.stdout.lines().count(), 2000, "a byte is lost");
        fixture.stop().await;
    });
}

#[test]
fn an_account_that_is_emptied_in_the_middle_of_up_is_filled_again() {
    block_on(async {
        let Some(fixture) = start().await else { return };
        let gateway = fixture.cloud.gateway();
        let emptying = async {
            while !gateway.journal().iter().any(|call| call.operation == "CreateDBInstance") {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            fixture.cloud.containers().restart_localstack().await;
        };
        let (ran, ()) = tokio::join!(fixture.run(&["up", "--yes"]), emptying);
        assert!(!ran.stderr.contains("panicked"), "{ran:?}");
        assert!(ran.code == 0 || ran.stderr.contains("error: "), "{ran:?}");
        // RDS was not emptied, which no account can be: the database is in a VPC that is gone, and has a password that
        // nobody knows any more.
        fixture.run(&["up", "--yes"]).await.expect(0);
        fixture.run(&["tenant", "create", TENANT]).await.expect(0);
        fixture.run(&["down", "--yes"]).await.expect(0);
        fixture.run(&["audit"]).await.expect(0);
        fixture.stop().await;
    });
}
