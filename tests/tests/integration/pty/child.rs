//! A child that owns the terminal owns it alone.

use sandbox::gateway::Disconnect;
use tests::{Fixture, Want};

use super::{CTRL_C, Tty, has_spinner};

const TENANT: &str = "startupwebapp_prod";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_drawn_while_psql_runs_also_after_ctrl_c() {
    let fixture = Fixture::start(Want::Databases).await;
    fixture.run(&["up", "--yes"]).await.expect(0);
    fixture.run(&["tenant", "create", TENANT]).await.expect(0);
    let mut tty = Tty::open(&fixture, &["psql", TENANT, "--", "-X", "--pset=pager=off"]);
    let prompt = "=> ";
    tty.until(prompt, 1).await;
    let before = tty.written.len();
    // psql cancels with a connection of its own, and that takes a session more.
    let sleep = "DO $$ BEGIN RAISE NOTICE 'asl%', 'eep'; PERFORM pg_sleep(600); END $$;\n";
    tty.type_in(sleep).await;
    // A key that comes before the query runs ends the line that is typed.
    tty.until("asleep", 1).await;
    let cancelled = "canceling statement due to user request";
    for _ in 0..20 {
        tty.type_in(CTRL_C).await;
        if tokio::time::timeout(super::LIMIT / 20, tty.until(cancelled, 1)).await.is_ok() {
            break;
        }
    }
    tty.until(cancelled, 1).await;
    // Longer than a bar takes to be drawn.
    tty.type_in("SELECT 'wa' || 'ited', pg_sleep(1.5);\n").await;
    tty.until("waited", 1).await;
    tty.type_in("\\q\n").await;
    let during = tty.written[before..].to_owned();
    assert!(!has_spinner(&during), "something was drawn: {during:?}");
    tty.end().await.expect(0, &["the bastion stops by itself at"]);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_while_a_command_has_the_terminal_is_said_afterwards() {
    let fixture = Fixture::start(Want::Databases).await;
    fixture.run(&["up", "--yes"]).await.expect(0);
    // A connection keeps the session in use; it is lost, and resumed, while the command asks.
    let script = "exec 3<>/dev/tcp/127.0.0.1/$PGPORT; printf 'a question: '; read -r answer; printf 'got %s\\n' \"$answer\"";
    let mut tty = Tty::open(&fixture, &["exec", "--", "bash", "-c", script]);
    tty.until("a question: ", 1).await;
    let resumed = || {
        let journal = fixture.cloud.gateway().journal();
        journal.iter().filter(|call| call.operation == "ResumeSession" && call.end_ms.is_some()).count()
    };
    fixture.cloud.gateway().disconnect(Disconnect::Closed);
    let lost = async {
        while resumed() == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(super::LIMIT, lost).await.expect("the session is resumed");
    tty.type_in("an answer\n").await;
    tty.until("got an answer", 1).await;
    let at = tty.written.find("a question: ").expect("it was asked");
    let end = tty.written.find("got an answer").expect("it was answered");
    let between = tty.written[at..end].to_owned();
    let shown = tty.end().await.expect(0, &["a question: an answer\ngot an answer\n", "resum"]);
    assert!(!between.contains("resum"), "it was said within the question: {between:?}");
    assert!(shown.screen.find("resum") > shown.screen.find("got an answer"), "{shown}");
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shell_on_the_bastion_and_its_commands_have_the_terminal_alone() {
    let fixture = Fixture::start(Want::ControlPlane).await;
    fixture.run(&["up", "--yes"]).await.expect(0);
    let mut tty = Tty::open(&fixture, &["bastion", "shell"]);
    tty.until("bastion$ ", 1).await;
    let before = tty.written.len();
    tty.type_in("sleep 1; echo $((6 * 7))\r").await;
    tty.until("\n42\r\n", 1).await;
    tty.until("bastion$ ", 2).await;
    assert!(!has_spinner(&tty.written[before..]), "{:?}", &tty.written[before..]);
    tty.type_in("exit\r").await;
    tty.end().await.expect(0, &["the shell has ended"]);
    let command =
        Tty::open(&fixture, &["bastion", "shell", "--", "sh", "-c", "echo out; echo err >&2; exit 7"]);
    command.end().await.expect(7, &["out\n", "err\n"]);
    fixture.stop().await;
}
