//! Every task, one that fails, and many tenants.

use tests::{Fixture, STACK_FILE, Want};

use super::{Tty, expect_end_of_result, has_spinner, show};

const TENANT: &str = "startupwebapp_prod";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_task_that_looks_at_the_stack_or_changes_it_ends_with_its_result() {
    let fixture = Fixture::start(Want::ControlPlane).await;
    show(&fixture, &["plan"]).await.expect(0, &["a month with the bastion running"]);
    show(&fixture, &["up", "--dry-run"]).await.expect(0, &["a month with the bastion running"]);
    show(&fixture, &["up", "--yes"])
        .await
        .expect(0, &["steps done", "running: instance i-", "running: database"]);
    show(&fixture, &["up", "--yes"])
        .await
        .expect(0, &["nothing to do: all", "unchanged", "running: database"]);
    show(&fixture, &["plan", "--check"]).await.expect(0, &["nothing to do: all"]);
    show(&fixture, &["status"]).await.expect(0, &["connect: `cargo xtask psql"]);
    for task in [&["iam", "print", "connect"][..], &["env", "-"], &["down", "--dry-run"]] {
        expect_end_of_result(&fixture, task, 0).await;
    }
    show(&fixture, &["resources"]).await.expect(0, &["cargo xtask bastion shell"]);
    show(&fixture, &["cost"]).await.expect(0, &["now: ", "the bastion since its start: "]);
    show(&fixture, &["audit"]).await.expect(9, &["subnet-", "tagged for stack", "vpc-"]);
    show(&fixture, &["sweep", "--expired", "--yes"]).await.expect(0, &["nothing to sweep"]);
    let page = fixture.cloud.dir().join("page.html").display().to_string();
    show(&fixture, &["status", "--html", &page]).await.expect(0, &["wrote `"]);
    show(&fixture, &["bastion", "keep"]).await.expect(0, &["kept: bastion i-", "still running: instance i-"]);
    show(&fixture, &["bastion", "extend", "2h"])
        .await
        .expect(0, &["extended: bastion i-", "stops by itself at"]);
    show(&fixture, &["bastion", "reboot", "--yes"]).await.expect(0, &["is rebooted; its agent is Online"]);
    show(&fixture, &["bastion", "stop", "--yes"]).await.expect(0, &["stopped: bastion i-"]);
    show(&fixture, &["bastion", "start"]).await.expect(0, &["started: bastion i-", "takes sessions"]);
    let receipt = fixture.cloud.dir().join("receipt.json").display().to_string();
    show(&fixture, &["down", "--yes", "--receipt", &receipt]).await.expect(0, &["nothing left"]);
    show(&fixture, &["audit"]).await.expect(0, &["nothing left"]);
    show(&fixture, &["doctor"]).await.expect(8, &["no bastion"]);
    show(&fixture, &["adopt", "--from", "/nowhere"])
        .await
        .expect(2, &["error: cannot read `/nowhere`", "hint: "]);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_task_of_tenants_ends_with_its_result() {
    let fixture = Fixture::start(Want::Databases).await;
    fixture.run(&["up", "--yes"]).await.expect(0);
    show(&fixture, &["tenant", "create"]).await.expect(0, &["tenant", "fintech_experiment     created"]);
    show(&fixture, &["tenant", "list"]).await.expect(0, &["startupwebapp_prod", "ready"]);
    show(&fixture, &["migrate", "status"]).await.expect(0, &["3 pending", "0 up to date"]);
    expect_end_of_result(&fixture, &["migrate", "--plan"], 0).await;
    show(&fixture, &["migrate"]).await.expect(0, &["fintech_experiment: applied V1__create_accounts"]);
    expect_end_of_result(&fixture, &["migrate"], 0).await;
    expect_end_of_result(&fixture, &["migrate", "status"], 0).await;
    show(&fixture, &["tenant", "verify"]).await.expect(0, &["pass"]);
    show(&fixture, &["release", "--yes"])
        .await
        .expect(0, &["release of `", "bastion: ran, kept", "3 up to date, 3 verified"]);
    show(&fixture, &["secret", "rotate", TENANT, "--yes"]).await.expect(0, &["startupwebapp_prod: rotated"]);
    show(&fixture, &["secret", "rotate", "--all", "--yes"]).await.expect(0, &["master: rotated"]);
    show(&fixture, &["doctor"]).await.expect(0, &["login", "pass"]);
    show(&fixture, &["psql", TENANT, "--", "-Xc", "SELECT 6 * 7 AS answer"])
        .await
        .expect(0, &["42", "(1 row)"]);
    show(&fixture, &["exec", "--", "sh", "-c", "echo $PGDATABASE; exit 3"]).await.expect(3, &["postgres"]);
    let drop = ["tenant", "drop", TENANT, "--no-dump", "--name", TENANT];
    show(&fixture, &drop).await.expect(0, &["database `startupwebapp_prod`: dropped", "its secret: deleted"]);
    fixture.stop().await;
}

#[test]
fn tasks_without_a_cloud_end_with_their_result() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = dir.path().to_str().expect("it is text").to_owned();
    std::fs::write(dir.path().join("V1__a.sql"), "CREATE TABLE t (a int);\n").expect("a file");
    tests::block_on(async move {
        let end = |args: &[&str]| Tty::of(tests::program(args)).end();
        end(&["migrate", "--lint", "--dir", &folder]).await.expect(0, &["files: 1, errors: 0"]);
        end(&["completions", "bash"]).await.expect(0, &["complete"]);
        end(&["man", &folder]).await.expect(0, &[]);
        end(&["sandbox", "status", "--sandbox=nobody"]).await.expect(8, &["sandbox `nobody` does not run"]);
        end(&["sandbox", "env", "--sandbox=nobody"])
            .await
            .expect(1, &["hint: run `cargo xtask --sandbox=nobody sandbox"]);
        end(&["plan", "--stack", "/nowhere"])
            .await
            .expect(2, &["error: cannot read the stack file `/nowhere`"]);
        // AWS is not there.
        end(&["plan"]).await.expect(4, &["error: no answer from", "hint: "]);
    });
}

#[test]
fn a_sandbox_and_the_demo_end_with_their_result() {
    tests::block_on(async {
        let name = format!("pty-{}", std::process::id());
        let flag = format!("--sandbox={name}");
        let end = async |task: &str| Tty::of(tests::program(&["sandbox", task, &flag])).end().await;
        let started = end("start").await;
        let status = end("status").await;
        let env = end("env").await;
        // Before anything is expected of them: a sandbox outlives whoever has started it.
        let stopped = end("stop").await;
        let folder = tests::target().parent().map(|target| target.join("sandbox").join(&name));
        drop(folder.map(std::fs::remove_dir_all));
        started.expect(0, &["runs at http://127.0.0.1:", &format!("add `{flag}` to any task")]);
        status.expect(0, &["runs at http://127.0.0.1:"]);
        env.expect(0, &["export AWS_ENDPOINT_URL="]);
        stopped.expect(0, &["stopped"]);
        Tty::of(tests::program(&["demo"])).end().await.expect(0, &["cargo xtask tenant verify"]);
    });
}

/// A stack of so many tenants, in a file of its own.
fn fleet(fixture: &Fixture, count: usize) -> String {
    let shipped = std::fs::read_to_string(STACK_FILE).expect("it is there");
    let head = shipped.split("[[tenant]]").next().expect("a head").to_owned();
    let tenants: String = (1..=count).map(|n| format!("[[tenant]]\nname = \"shop_{n:04}\"\n\n")).collect();
    let file = fixture.cloud.dir().join("fleet.toml");
    std::fs::write(&file, head + &tenants).expect("a file");
    file.display().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tenants_share_a_bar_and_the_reason_of_a_failure_is_on_the_last_screen() {
    let fixture = Fixture::start(Want::Databases).await;
    let stack = fleet(&fixture, 26);
    fixture.run(&["up", "--yes", "--stack", &stack]).await.expect(0);
    let created = show(&fixture, &["tenant", "create", "--stack", &stack]).await;
    created.expect(0, &["shop_0026  created"]);
    let dir = fixture.cloud.dir().join("files");
    std::fs::create_dir_all(&dir).expect("a folder");
    let sql = "DO $$ BEGIN\n IF current_database() = 'shop_0003' THEN RAISE 'no room for it'; END IF;\n \
               PERFORM pg_sleep(0.5);\nEND $$;\n";
    std::fs::write(dir.join("V1__a.sql"), sql).expect("a file");
    let dir = dir.display().to_string();
    let shown = show(&fixture, &["migrate", "--stack", &stack, "--dir", &dir, "--jobs", "4"]).await;
    let shown = shown.expect(7, &["shop_0003: failed", "no room for it", "25 migrated, 1 failed"]);
    assert!(shown.written.contains("/26, "), "no bar counted them: {}", shown.written);
    assert!(has_spinner(&shown.written), "nothing moved: {}", shown.written);
    assert!(!shown.written.contains("tenant shop_0001: migrate"), "a tenant has a bar of its own");
    fixture.stop().await;
}
