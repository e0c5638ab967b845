//! The release step: what is due and nothing else, twice, twice at once, and by a program that needs no cargo.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tests::{Fixture, Want};

/// A folder that looks like a checkout: the stack file and the migrations, and nothing to build.
struct Checkout(PathBuf);

impl Checkout {
    fn new(fixture: &Fixture) -> Checkout {
        let dir = fixture.cloud.dir().join("checkout");
        let migrations = dir.join("db/migrations");
        std::fs::create_dir_all(&migrations).expect("the cloud has a folder");
        std::fs::create_dir_all(dir.join("infra")).expect("the cloud has a folder");
        std::fs::copy(tests::STACK_FILE, dir.join("infra/stack.toml")).expect("the stack file can be copied");
        let shipped = Path::new(tests::STACK_FILE).with_file_name("../db/migrations");
        for file in std::fs::read_dir(shipped).expect("the project ships migrations") {
            let file = file.expect("a folder can be listed").path();
            let name = file.file_name().expect("a file has a name");
            std::fs::copy(&file, migrations.join(name)).expect("a migration can be copied");
        }
        Checkout(dir)
    }

    fn add_tenant(&self, name: &str) {
        let file = self.0.join("infra/stack.toml");
        let text = std::fs::read_to_string(&file).expect("it was copied");
        std::fs::write(&file, format!("{text}\n[[tenant]]\nname = \"{name}\"\n")).expect("it can be written");
    }

    fn add_migration(&self, name: &str, sql: &str) {
        std::fs::write(self.0.join("db/migrations").join(name), sql).expect("it can be written");
    }

    fn remove_migration(&self, name: &str) {
        std::fs::remove_file(self.0.join("db/migrations").join(name)).expect("it is there");
    }

    /// Returns a program with that task, of this checkout.
    fn release(&self, fixture: &Fixture, args: &[&str]) -> Command {
        let mut command = fixture.program(&[&["release", "--yes", "--json"], args].concat());
        command.current_dir(&self.0);
        command
    }
}

async fn run(command: Command, code: i32) -> tests::Ran {
    tokio::task::spawn_blocking(move || tests::run(command)).await.expect("it ends").expect(code)
}

/// Returns the names in a list, or those in a field of its elements.
fn names(list: &Value) -> BTreeSet<String> {
    let all = list.as_array().expect("it is a list").iter();
    all.map(|one| one.as_str().or(one["tenant"].as_str()).expect("it has a name").to_owned()).collect()
}

const SHIPPED: [&str; 3] = ["fintech_experiment", "healthtech_experiment", "startupwebapp_prod"];

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_release_does_what_is_due_and_names_exactly_that() {
    tests::block_on(async {
        let fixture = Fixture::start(Want::Databases).await;
        let checkout = Checkout::new(&fixture);
        // Nothing to release to, and a release makes no database.
        let ran = run(checkout.release(&fixture, &[]), 1).await;
        assert!(ran.stderr.contains("the stack has no database"), "{ran:?}");
        fixture.run(&["up", "--yes"]).await.expect(0);
        // Found before anything is done, not after it.
        let ran = run(checkout.release(&fixture, &["--report", "no/such/folder.json"]), 2).await;
        assert!(ran.stderr.contains("no/such/folder.json"), "{ran:?}");

        // Two at once: one waits for the other, and nothing is done twice.
        let first = run(checkout.release(&fixture, &[]), 0);
        let second = run(checkout.release(&fixture, &[]), 0);
        let (first, second) = tokio::join!(first, second);
        let (first, second) = (first.json(), second.json());
        let (doer, waiter) =
            if first["created"] == Value::Array(Vec::new()) { (second, first) } else { (first, second) };
        assert_eq!(names(&doer["created"]), set(&SHIPPED));
        assert_eq!(names(&doer["migrated"]), set(&SHIPPED));
        for nothing in ["created", "repaired", "migrated", "failed"] {
            assert_eq!(waiter[nothing], Value::Array(Vec::new()), "{nothing}: {waiter}");
        }
        assert_eq!((waiter["up_to_date"].as_u64(), waiter["verified"].as_u64()), (Some(3), Some(3)));
        assert_eq!(waiter["bastion"], serde_json::json!(["ran", "kept"]));

        // One new tenant and one new migration.
        checkout.add_tenant("newcomer");
        checkout.add_migration("V90__newest.sql", "CREATE TABLE newest (n int);\n");
        let (report, summary) = (checkout.0.join("report.json"), checkout.0.join("summary.md"));
        let mut command = checkout.release(&fixture, &["--report", "report.json"]);
        command.env("GITHUB_STEP_SUMMARY", &summary);
        let told = run(command, 0).await.json();
        assert_eq!(names(&told["created"]), set(&["newcomer"]));
        for one in told["migrated"].as_array().expect("it is a list") {
            let applied = names(&one["what"]);
            assert!(applied.contains("V90__newest"), "{one}");
            assert_eq!(applied.len() > 1, one["tenant"] == "newcomer", "{one}");
        }
        assert_eq!(told["migrated"].as_array().map(Vec::len), Some(4));
        let written: Value =
            serde_json::from_slice(&std::fs::read(report).expect("it is written")).expect("it is JSON");
        assert_eq!(written, told);
        let summary = std::fs::read_to_string(summary).expect("it is written");
        assert!(summary.contains("| newcomer | create | new |"), "{summary}");

        // A migration that fails: the report says where, and what is done stays done.
        checkout.add_migration("V91__broken.sql", "SELECT 1;\nSELECT no_such_column;\n");
        let told = run(checkout.release(&fixture, &[]), 6).await.json();
        assert_eq!(told["exit"], 6);
        assert_eq!(names(&told["failed"]).len(), 4);
        assert!(told["failed"][0]["error"].as_str().is_some_and(|error| error.contains("line 2")), "{told}");
        assert_eq!(told["verified"], 0);
        checkout.remove_migration("V91__broken.sql");
        run(checkout.release(&fixture, &[]), 0).await;
        fixture.stop().await;
    });
}

#[test]
fn the_bastion_is_left_as_it_was_found_unless_somebody_uses_it() {
    tests::block_on(async {
        let fixture = Fixture::start(Want::Databases).await;
        let checkout = Checkout::new(&fixture);
        fixture.run(&["up", "--yes"]).await.expect(0);
        let bastion = async |told: &Value, words: [&str; 2]| {
            assert_eq!(told["bastion"], serde_json::json!(words), "{told}");
            let (_, inventory) = fixture.context.observe().await.expect("the account can be observed");
            inventory.bastion().map(|bastion| bastion.state.clone())
        };

        fixture.run(&["bastion", "stop", "--yes"]).await.expect(0);
        let told = run(checkout.release(&fixture, &[]), 0).await.json();
        assert_eq!(bastion(&told, ["started", "stopped"]).await.as_deref(), Some("stopped"));

        fixture.run(&["down", "bastion", "--yes"]).await.expect(0);
        let told = run(checkout.release(&fixture, &[]), 0).await.json();
        assert_eq!(bastion(&told, ["created", "destroyed"]).await, None);

        let told = run(checkout.release(&fixture, &["--bastion", "keep"]), 0).await.json();
        assert_eq!(bastion(&told, ["created", "kept"]).await.as_deref(), Some("running"));
        // Somebody's session keeps it from whoever is told to stop it.
        let mut args = vec!["exec", "--", "sh", "-c", "echo in; read line"];
        args.insert(0, "--quiet");
        let mut command = tokio::process::Command::from(fixture.program(&args));
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).kill_on_drop(true);
        let mut user = command.spawn().expect("the program starts");
        let mut first = String::new();
        let mut stdout = tokio::io::BufReader::new(user.stdout.take().expect("it is piped"));
        let reading = tokio::io::AsyncBufReadExt::read_line(&mut stdout, &mut first);
        tokio::time::timeout(tests::LIMIT, reading).await.expect("it prints").expect("it can be read");
        assert_eq!(first, "in\n");
        let told = run(checkout.release(&fixture, &["--bastion", "stop"]), 0).await.json();
        assert_eq!(bastion(&told, ["ran", "left to others"]).await.as_deref(), Some("running"));
        drop(user.stdin.take());
        tokio::time::timeout(tests::LIMIT, user.wait()).await.expect("it ends").expect("it ran");
        fixture.stop().await;
    });
}

#[test]
fn the_program_needs_neither_cargo_nor_its_own_name() {
    // Not below the workspace, which would be found.
    let outside = tempfile::tempdir().expect("there is a folder for temporary files");
    let dir = outside.path();
    let program = dir.join("drawbridge");
    // By a process of its own: while this one has the copy open to write, so has whatever another test starts meanwhile, and
    // what is open to write cannot be run.
    let copied = Command::new("cp").arg(tests::program(&[]).get_program()).arg(&program).status();
    assert!(copied.expect("there is `cp`").success(), "the program can be copied");
    let start = |args: &[&str]| {
        let mut command = Command::new(&program);
        command.args(args).env_clear().current_dir(dir);
        command
    };
    let help = tests::run(start(&["--help"])).expect(0).stdout;
    assert!(help.contains("Usage: drawbridge ") && !help.contains("cargo"), "{help}");
    assert!(help.contains("release") && !help.contains("\n  check "), "{help}");
    // Nothing is read from where it was built.
    let ran = tests::run(start(&["plan"])).expect(2);
    assert!(ran.stderr.contains("cannot read the stack file `infra/stack.toml`"), "{ran:?}");
    let ran = tests::run(start(&["sandbox", "status"])).expect(2);
    assert!(ran.stderr.contains("set HOME"), "{ran:?}");
    let ran = tests::run(start(&["check"])).expect(2);
    assert!(ran.stderr.contains("needs Drawbridge's sources"), "{ran:?}");
    let ran = tests::run(start(&["man", "drawbridge/pages"])).expect(2);
    assert!(ran.stderr.contains("drawbridge/pages"), "{ran:?}");
    let script = tests::run(start(&["completions", "bash"])).expect(0).stdout;
    assert!(script.contains("_drawbridge"), "{script}");
    tests::run(start(&["man", "pages"])).expect(0);
    let page = std::fs::read_to_string(dir.join("pages/drawbridge-release.1")).expect("it is written");
    assert!(page.contains("drawbridge") && !page.contains("cargo xtask"), "{page}");
}
