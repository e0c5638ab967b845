//! What may stand in the way of `down`: it is named and the exit code is 9, or it is removed as told. Nothing is called
//! gone that the services still show.

mod account;
mod obstacle;

use serde_json::Value;
use tests::{Fixture, Ran, Want};

use self::account::Account;
use self::obstacle::{ACCESS, AS_TOLD, FOREIGN, Obstacle};

/// Brings up, puts the obstacle there, takes down, compares the receipt with the account, clears, takes down again.
async fn meet(fixture: &Fixture, obstacle: Obstacle) {
    let watched = tests::watched_stack_file(fixture.cloud.dir(), "ops@example.com");
    fixture.run(&["--stack", &watched, "up", "--yes"]).await.expect(0);
    let before = Account::look(fixture).await;
    let placed = obstacle.place(fixture).await;
    let file = tests::fresh_dir().join("receipt.json");
    // What is in the way for good is waited for in vain, and what is not, for as long as this machine takes.
    let wait = if obstacle.code() == 0 { "120" } else { "3" };
    let mut args =
        vec!["down", "--yes", "--json", "--wait", wait, "--receipt", file.to_str().expect("UTF-8")];
    args.extend(obstacle.args());
    let ran = fixture.run(&args).await;
    fixture.cloud.gateway().clear_faults();
    let ran = expect(obstacle, ran);
    let receipt = ran.json();
    let written = std::fs::read_to_string(&file).expect("the receipt is written");
    assert_eq!(serde_json::from_str::<Value>(&written).expect("it is JSON"), receipt, "{obstacle:?}");

    let after = Account::look(fixture).await;
    let gone = list(&receipt["gone"]);
    for one in gone {
        assert!(!after.has(text(&one["kind"]), text(&one["id"])), "{obstacle:?}: a false `gone`: {one}");
        assert!(text(&one["call"]).contains(':') && text(&one["at"]).ends_with('Z'), "{obstacle:?}: {one}");
    }
    let told: Vec<&str> = ["gone", "kept", "left"]
        .iter()
        .flat_map(|part| list(&receipt[*part]))
        .map(|one| text(&one["id"]))
        .collect();
    if obstacle.sees_the_plan() {
        for id in before.ids() {
            assert!(told.contains(&id.as_str()), "{obstacle:?}: nothing is said of {id}: {receipt}");
        }
    }
    let verdict = if obstacle.code() == 0 { "gone" } else { obstacle.verdict() };
    assert_eq!(receipt["verdict"], verdict, "{obstacle:?}: {receipt}");
    for name in &placed.names {
        let parts = format!("{}{}{}", receipt["left"], receipt["unseen"], receipt["kept"]);
        assert!(parts.contains(name.as_str()), "{obstacle:?}: {name} is not in {parts}");
    }
    for command in &placed.commands {
        assert!(ran.stderr.contains(command.as_str()), "{obstacle:?}: no `{command}` in {}", ran.stderr);
    }
    obstacle.check(fixture, &before, &after);

    placed.undo(fixture).await;
    fixture.run(&["down", "--yes", "--unprotect", "--wait", "120"]).await.expect(0);
    fixture.run(&["audit"]).await.expect(0);
    fixture.cloud.gateway().reset().await.expect("an empty account can be made new");
}

fn expect(obstacle: Obstacle, ran: Ran) -> Ran {
    assert_eq!(ran.code, obstacle.code(), "{obstacle:?}: {}\n{}", ran.stdout, ran.stderr);
    ran
}

async fn meet_all(obstacles: &[Obstacle]) {
    let fixture = Fixture::start(Want::ControlPlane).await;
    for obstacle in obstacles {
        meet(&fixture, *obstacle).await;
    }
    fixture.stop().await;
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).expect("it is a list")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("it is a text")
}

#[test]
fn down_names_what_others_have_put_in_its_way() {
    tests::block_on(meet_all(&FOREIGN));
}

#[test]
fn down_never_takes_what_it_may_not_see_for_gone() {
    tests::block_on(meet_all(&ACCESS));
}

#[test]
fn down_removes_and_keeps_as_told() {
    tests::block_on(meet_all(&AS_TOLD));
}

#[test]
fn bad_wishes_are_refused_before_anything_is_contacted() {
    for bad in [
        &["--snapshot", "not_a_name"][..],
        &["--snapshot", "a", "--no-snapshot"],
        &["--recovery-days", "6"],
        &["--recovery-days", "7", "--keep-secrets"],
    ] {
        let args: Vec<&str> = ["down", "--yes"].into_iter().chain(bad.iter().copied()).collect();
        // Nothing listens where this program looks for AWS: had it asked, the code would be another one.
        let ran = tests::run(tests::program(&args)).expect(2);
        assert!(ran.stderr.contains(bad[0]), "{}", ran.stderr);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_that_cannot_be_written_is_found_before_anything_is_deleted() {
    let fixture = Fixture::start(Want::ControlPlane).await;
    fixture.run(&["up", "--yes"]).await.expect(0);
    let nowhere = fixture.cloud.dir().join("no-such-folder/receipt.json");
    let ran = fixture.run(&["down", "--yes", "--receipt", nowhere.to_str().expect("UTF-8")]).await.expect(2);
    assert!(ran.stderr.contains("no-such-folder"), "{}", ran.stderr);
    fixture.run(&["plan", "--check"]).await.expect(0);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_called_prod_is_protected_and_leaves_a_snapshot_without_a_line_that_says_so() {
    let fixture = Fixture::start(Want::ControlPlane).await;
    let shipped = std::fs::read_to_string(tests::STACK_FILE).expect("the stack file is there");
    let lines = ["deletion_protection = false\n", "final_snapshot = false\n"];
    let plain = lines.iter().fold(shipped, |text, line| text.replace(line, ""));
    let file = fixture.cloud.dir().join("plain.toml");
    std::fs::write(&file, plain).expect("the folder can be written to");
    let run = async |args: &[&str], code: i32| {
        let stack = ["--stack", file.to_str().expect("UTF-8")];
        fixture.run(&[&stack[..], args].concat()).await.expect(code)
    };
    run(&["up", "--yes"], 0).await;
    let calls = fixture.cloud.gateway().journal().len();
    let refused = run(&["down", "--yes"], 9).await;
    assert!(refused.stderr.contains("is protected against deletion; nothing was deleted"), "{refused:?}");
    let journal = fixture.cloud.gateway().journal();
    assert!(
        !journal[calls..].iter().any(|call| call.operation.starts_with("Delete")),
        "{:?}",
        &journal[calls..]
    );
    let receipt = run(&["down", "--yes", "--unprotect", "--json"], 0).await.json();
    let kept: Vec<&str> = list(&receipt["kept"]).iter().map(|one| text(&one["id"])).collect();
    assert!(matches!(kept.as_slice(), [one] if one.contains("-final-")), "{kept:?}");
    run(&["audit"], 0).await;
    fixture.stop().await;
}
