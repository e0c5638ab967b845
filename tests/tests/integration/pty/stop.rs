//! Tasks that fail, and tasks that are interrupted, on a terminal.

use std::time::Duration;

use sandbox::gateway::{Fault, FaultKind};
use tests::{Fixture, Want};

use super::{CTRL_C, Tty, show};

fn refuse(fixture: &Fixture, service: &str, operation: &str) {
    let (service, operation) = (Some(service.to_owned()), Some(operation.to_owned()));
    fixture.cloud.gateway().inject(Fault { service, operation, nth: 1, kind: FaultKind::refusal() });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_fails_ends_with_why_and_what_to_type() {
    let fixture = Fixture::start(Want::ControlPlane).await;
    refuse(&fixture, "ec2", "RunInstances");
    let shown = show(&fixture, &["up", "--yes"]).await;
    shown.expect(4, &["error: cannot create", "RunInstances", "hint: run `cargo xtask up` to go on"]);
    fixture.run(&["up", "--yes"]).await.expect(0);
    refuse(&fixture, "ec2", "TerminateInstances");
    show(&fixture, &["down", "--yes"]).await.expect(9, &["error: ", "hint: run `cargo xtask down` again"]);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_leaves_a_screen_that_says_what_is_there() {
    let fixture = Fixture::start_with(Want::ControlPlane, |gateway| {
        gateway.registration_delay = Duration::from_secs(3600);
    })
    .await;
    // At the question nothing is in flight.
    let mut asked = Tty::open(&fixture, &["up"]);
    asked.until("[y/N] ", 1).await;
    asked.type_in(CTRL_C).await;
    asked.end().await.expect(130, &["[y/N] "]);
    let mut asked = Tty::open(&fixture, &["up"]);
    asked.until("[y/N] ", 1).await;
    asked.type_in("\x04").await;
    asked.end().await.expect(130, &["nothing was changed"]);
    let waits = "the agent has not registered";
    let mut up = Tty::open(&fixture, &["up", "--yes"]);
    up.until(waits, 1).await;
    up.type_in(CTRL_C).await;
    let shown = up.end().await;
    shown.expect(130, &["error: stopped before", "hint: ", "the bastion stops by itself at"]);
    let mut twice = Tty::open(&fixture, &["up", "--yes"]);
    twice.until(waits, 1).await;
    twice.type_in(CTRL_C).await;
    // A Ctrl-C makes the terminal throw away what it has not shown yet: whatever was said of the first must be read first.
    twice.until("once more ends at once", 1).await;
    twice.type_in(CTRL_C).await;
    twice.end().await.expect(130, &[]);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_that_is_ended_leaves_no_line_of_its_traffic() {
    let fixture = Fixture::start(Want::Databases).await;
    fixture.run(&["up", "--yes"]).await.expect(0);
    let mut tunnel = Tty::open(&fixture, &["tunnel", "--port", "0"]);
    tunnel.until("ready: 127.0.0.1:", 1).await;
    tunnel.until("B down", 1).await;
    tunnel.type_in(CTRL_C).await;
    tunnel.end().await.expect(0, &["ready: 127.0.0.1:", "tunnel closed", "the bastion stops by itself at"]);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_gone_at_the_end_is_not_said_to_run() {
    let fixture = Fixture::start(Want::Databases).await;
    fixture.run(&["up", "--yes"]).await.expect(0);
    let (_, inventory) = fixture.context.observe().await.expect("the account can be observed");
    let bastion = inventory.bastion().expect("there is one").id.clone();
    let mut tty = Tty::open(&fixture, &["exec", "--", "sh", "-c", "echo there; read -r answer"]);
    tty.until("there", 1).await;
    fixture.raw().ec2("TerminateInstances", &[("InstanceId.1", &bastion)]).await;
    tty.type_in("\n").await;
    let shown = tty.end().await.expect(0, &["there"]);
    assert!(!shown.screen.contains("still running") && !shown.screen.contains("by itself at"), "{shown}");
    fixture.stop().await;
}
