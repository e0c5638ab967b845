//! A fault at every call: whatever happens to call n of an `up` or a `down`, the next `up` converges and a `down`
//! leaves an empty account.
//!
//! Where `DRAWBRIDGE_TEST_SWEEP` is `full`, as in CI, every kind of fault happens to every call. Otherwise every tenth
//! call meets one kind, and the next ones the others.

use std::process::Stdio;

use deploy::task::{down, up};
use sandbox::gateway::{Fault, FaultKind};
use tests::{Fixture, LIMIT, Want, until_settled};

/// What is swept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    Up,
    Down,
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Refused,
    Throttled,
    ReplyLost,
    Killed,
}

const KINDS: u64 = 4;
/// How far apart the calls are that meet a fault, unless every call does.
const APART: u64 = 10;

impl Kind {
    fn fault(self) -> FaultKind {
        match self {
            Kind::Refused => FaultKind::refusal(),
            Kind::Throttled => FaultKind::Throttle,
            Kind::ReplyLost => FaultKind::LostReply,
            Kind::Killed => FaultKind::Hold,
        }
    }
}

async fn sweep(task: Task, kind: Kind) {
    let every_call = tests::sweeps_fully();
    let (place, kind) = (kind as u64, kind.fault());
    let fixture = Fixture::start(Want::ControlPlane).await;
    let calls = count(&fixture, task).await;
    assert!(calls > 30, "{task:?} made only {calls} calls");
    let mut is_up = false;
    for n in (1..=calls).filter(|n| every_call || n % (APART * KINDS) == APART * place) {
        if task == Task::Down && !is_up {
            converge(&fixture, n).await;
        }
        let gateway = fixture.cloud.gateway();
        let before = gateway.journal().len();
        gateway.inject(Fault { service: None, operation: None, nth: n, kind: kind.clone() });
        // A held reply never comes: the only way on is to be killed, after the work was done.
        let killed = async {
            gateway.wait_until_fired().await;
            if kind != FaultKind::Hold {
                std::future::pending::<()>().await;
            }
        };
        // Either end is right; what counts is what comes after it.
        tokio::select! {
            _ = attempt(&fixture, task) => (),
            () = killed => (),
        }
        gateway.clear_faults();
        until_settled(gateway).await;
        if has_only_looked(&fixture, before) {
            // All is as it was, and serves the next one. Many calls of a run are looks before its first change.
            is_up = task == Task::Down;
            if is_up {
                expect_one_whole_stack(&fixture, n).await;
            }
            continue;
        }
        is_up = false;
        converge(&fixture, n).await;
        // Fails if an audit finds anything left.
        down::demolish(&fixture.context)
            .await
            .unwrap_or_else(|failure| panic!("call {n}: {}", failure.render_text()));
        // moto keeps terminated instances and their tags for good and reads all of them at every call.
        gateway.reset().await.expect("an empty account can be made new");
    }
    fixture.stop().await;
}

/// Returns how many calls the task makes without faults; leaves an empty account.
async fn count(fixture: &Fixture, task: Task) -> u64 {
    let before = fixture.cloud.gateway().journal().len();
    up::converge(&fixture.context, &[]).await.expect("`up` succeeds without faults");
    let between = fixture.cloud.gateway().journal().len();
    down::demolish(&fixture.context).await.expect("`down` succeeds without faults");
    let after = fixture.cloud.gateway().journal().len();
    let calls = match task {
        Task::Up => between - before,
        Task::Down => after - between,
    };
    u64::try_from(calls).expect("few calls")
}

async fn attempt(fixture: &Fixture, task: Task) {
    match task {
        Task::Up => drop(up::converge(&fixture.context, &[]).await),
        Task::Down => drop(down::demolish(&fixture.context).await),
    }
}

/// One `up` makes everything right, with nothing twice; a second one has nothing to do.
async fn converge(fixture: &Fixture, n: u64) {
    if let Err(failure) = up::converge(&fixture.context, &[]).await {
        panic!("call {n}: {}", failure.render_text());
    }
    expect_one_whole_stack(fixture, n).await;
}

/// Tells whether no call since then could change anything.
fn has_only_looked(fixture: &Fixture, before: usize) -> bool {
    let looks = |operation: &str| ["Describe", "Get", "List"].iter().any(|verb| operation.starts_with(verb));
    fixture.cloud.gateway().journal()[before..].iter().all(|call| looks(&call.operation))
}

/// Nothing is missing, and nothing is there twice.
async fn expect_one_whole_stack(fixture: &Fixture, n: u64) {
    let (_, inventory) = fixture.context.observe().await.expect("the account can be observed");
    let plan = stack::plan::up(&fixture.context.stack, &inventory, &[]);
    assert!(plan.is_empty(), "call {n}: after `up` there is still {:?}", plan.steps);
    assert_eq!(inventory.vpcs.len(), 1, "call {n}: {:?}", inventory.vpcs);
    assert_eq!(inventory.gateways.len(), 1, "call {n}: {:?}", inventory.gateways);
    assert_eq!(inventory.route_tables.len(), 2, "call {n}: {:?}", inventory.route_tables);
    assert_eq!(inventory.instances.len(), 1, "call {n}: {:?}", inventory.instances);
}

/// As the sweep does it, but with a program of its own and SIGKILL, at some calls of either task.
async fn kill_the_program(fixture: &Fixture, task: &str, n: u64) {
    let gateway = fixture.cloud.gateway();
    gateway.inject(Fault { service: None, operation: None, nth: n, kind: FaultKind::Hold });
    let mut program =
        fixture.program(&[task, "--yes"]).stderr(Stdio::null()).spawn().expect("the program starts");
    let fired = tokio::time::timeout(LIMIT, gateway.wait_until_fired()).await;
    // It goes in any case: a test that panics leaves no program behind.
    program.kill().expect("it can be killed");
    fired.unwrap_or_else(|_| panic!("`{task}` makes no call {n}"));
    program.wait().expect("it ends");
    gateway.clear_faults();
    until_settled(gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_was_killed_is_gone_on_from() {
    let fixture = Fixture::start(Want::ControlPlane).await;
    let places: &[u64] = if tests::sweeps_fully() { &[2, 14, 23, 31, 44] } else { &[14, 31] };
    for n in places.iter().copied() {
        kill_the_program(&fixture, "up", n).await;
        fixture.run(&["up", "--yes"]).await.expect(0);
        fixture.run(&["plan", "--check"]).await.expect(0);
        kill_the_program(&fixture, "down", n).await;
        fixture.run(&["down", "--yes"]).await.expect(0);
        fixture.run(&["audit"]).await.expect(0);
    }
    fixture.stop().await;
}

macro_rules! sweeps {
    ($($name:ident: $task:expr, $kind:expr;)*) => {$(
        #[test]
        fn $name() {
            tests::block_on(sweep($task, $kind));
        }
    )*};
}

sweeps! {
    up_converges_after_any_call_is_refused: Task::Up, Kind::Refused;
    up_converges_after_any_call_is_throttled: Task::Up, Kind::Throttled;
    up_converges_after_any_reply_is_lost: Task::Up, Kind::ReplyLost;
    up_converges_after_a_kill_at_any_call: Task::Up, Kind::Killed;
    down_empties_after_any_call_is_refused: Task::Down, Kind::Refused;
    down_empties_after_any_call_is_throttled: Task::Down, Kind::Throttled;
    down_empties_after_any_reply_is_lost: Task::Down, Kind::ReplyLost;
    down_empties_after_a_kill_at_any_call: Task::Down, Kind::Killed;
}
