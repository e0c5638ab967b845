//! Runs that are killed at random moments, one after the other, and runs at once: nothing is there twice, and one `down`
//! empties the account.

#![expect(clippy::unwrap_used, reason = "a test that cannot prepare itself has failed")]

mod program;
mod victim;

use std::process::{Command, Output, Stdio};

use aws::lock;
use deploy::context::Context;
use deploy::failure::Failure;
use deploy::task::{down, up};
use futures_util::future::join_all;
use sandbox::gateway::{Fault, FaultKind};
use serde_json::json;
use stack::{Event, Events};
use tests::{Fixture, LIMIT, Want};

/// Brings everything up once more and finds nothing twice, then takes it down and finds nothing left.
async fn settle(fixture: &Fixture) {
    let told = |failure: Failure| failure.render_text();
    up::converge(&fixture.context, &[]).await.map_err(told).expect("`up` mends what the others left");
    let (_, inventory) = fixture.context.observe().await.expect("the account can be observed");
    let plan = stack::plan::up(&fixture.context.stack, &inventory, &[]);
    assert!(plan.is_empty(), "there is still {:?}", plan.steps);
    let counts = [
        inventory.vpcs.len(),
        inventory.gateways.len(),
        inventory.subnets.len(),
        inventory.route_tables.len(),
        inventory.instances.len(),
    ];
    assert_eq!(counts, [1, 1, 3, 2, 1], "{inventory:?}");
    // Fails if an audit finds anything left.
    down::demolish(&fixture.context).await.map_err(told).expect("one `down` empties the account");
}

/// Does one or the other; what counts is what comes after it.
async fn attempt(fixture: &Fixture, goes_up: bool) {
    if goes_up {
        drop(up::converge(&fixture.context, &[]).await);
    } else {
        drop(down::demolish(&fixture.context).await);
    }
}

#[test]
fn kills_at_random_moments_one_after_the_other_leave_nothing_twice() {
    tests::block_on(async {
        let fixture = Fixture::start(Want::ControlPlane).await;
        let kills = if tests::sweeps_fully() { 200 } else { 20 };
        let mut random = crate::migrate::join::chance(20_261_125);
        for kill in 1..=kills {
            let gateway = fixture.cloud.gateway();
            let nth = u64::try_from(random(70) + 1).expect("a small number");
            gateway.inject(Fault { service: None, operation: None, nth, kind: FaultKind::Hold });
            // A reply that is held never comes: the run ends there, whatever it was about to do.
            tokio::select! {
                () = attempt(&fixture, random(3) > 0) => (),
                () = gateway.wait_until_fired() => (),
            }
            gateway.clear_faults();
            if kill % 20 == 0 {
                settle(&fixture).await;
                gateway.reset().await.expect("an empty account can be made new");
            }
        }
        fixture.stop().await;
    });
}

#[test]
fn twenty_runs_of_up_at_once_make_one_stack() {
    tests::block_on(async {
        let fixture = Fixture::start(Want::ControlPlane).await;
        let told = |failure: Failure| failure.render_text();
        let runs = (0..20).map(|_| async {
            let (_, _, steps) = up::converge(&fixture.context, &[]).await.map_err(told)?;
            Ok::<usize, String>(steps)
        });
        let steps: Vec<usize> =
            join_all(runs).await.into_iter().collect::<Result<_, _>>().expect("each comes to its end");
        assert_eq!(steps.iter().filter(|steps| **steps > 0).count(), 1, "one makes it: {steps:?}");
        settle(&fixture).await;
        fixture.stop().await;
    });
}

/// Runs the program to its end without a thread of its own.
async fn ended(mut command: Command) -> Output {
    command.stdin(Stdio::null());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it can be run");
    tests::ended("one of many programs", child).await
}

#[test]
fn up_down_and_release_at_once_in_any_mix_leave_nothing_twice() {
    tests::block_on(async {
        let fixture = Fixture::start(Want::Databases).await;
        let mut random = crate::migrate::join::chance(20_261_126);
        let runs = if tests::sweeps_fully() { 20 } else { 6 };
        let programs: Vec<(&str, Command)> = (0..runs)
            .map(|run| {
                // One of each, then whatever comes.
                let task = ["up", "release", "down"][if run < 3 { run } else { random(3) }];
                let mut args = vec![task, "--yes"];
                if task == "down" {
                    args.extend(["--unprotect", "--no-snapshot"]);
                }
                (task, fixture.program(&args))
            })
            .collect();
        let ended =
            join_all(programs.into_iter().map(|(task, program)| async move { (task, ended(program).await) }));
        for (task, output) in ended.await {
            let told = String::from_utf8_lossy(&output.stderr);
            match (task, output.status.code()) {
                (_, Some(0)) => (),
                // The others have left more to delete than it has seen.
                ("up" | "down", Some(8)) => assert!(told.contains("nothing was changed"), "{told}"),
                // The database is taken away below it, or never was there: it says so, and not that it was done.
                ("release", Some(code @ 1..=7)) => assert!(told.contains("error: "), "{code}: {told}"),
                (task, code) => panic!("`{task}` ended with {code:?}: {told}"),
            }
        }
        settle(&fixture).await;
        fixture.stop().await;
    });
}

#[test]
fn a_lock_is_waited_for_while_its_run_lives_and_taken_over_once_it_is_dead() {
    tests::block_on(async {
        let fixture = Fixture::start(Want::ControlPlane).await;
        let Context { stack, stop, .. } = &fixture.context;
        let (cloud, nothing) = fixture.context.observe().await.expect("the account can be observed");
        let take = async |task, seen| {
            lock::take(&cloud, stack, (task, "ann@laptop"), seen, &Events::none(), stop)
                .await
                .expect("it is free")
        };
        drop(take("up", &nothing.locks).await);
        let left = aws::audit(&cloud, stack).await.left;
        assert!(left[0].kind == "lock" && left[0].why.contains("`up` of ann@laptop"), "{left:?}");

        let (_, seen) = fixture.context.observe().await.expect("the account can be observed");
        let living = take("release", &seen.locks).await;
        assert!(!living.has_waited(), "the dead hold nobody up");
        let (told, mut hears) = tokio::sync::mpsc::unbounded_channel();
        let events = Events::new(move |event| drop(told.send(event)));
        let second = Context { events, ..fixture.context.clone() };
        let first_ends = async {
            let hearing = async {
                while let Some(event) = hears.recv().await {
                    if let Event::StepWaiting { status, .. } = event {
                        assert!(status.starts_with("held by `release` of ann@laptop, process "), "{status}");
                        break;
                    }
                }
            };
            tokio::time::timeout(LIMIT, hearing).await.expect("the second one says that it waits");
            living.give_back(&Events::none()).await;
        };
        let (came_up, ()) = tokio::join!(up::converge(&second, &[]), first_ends);
        assert!(came_up.is_ok_and(|(_, _, steps)| steps > 0));
        let (_, seen) = fixture.context.observe().await.expect("the account can be observed");
        assert_eq!(seen.locks, [], "neither the dead's nor the living's is left");
        fixture.stop().await;
    });
}

#[test]
fn a_run_that_has_lost_its_lock_leaves_the_next_ones_alone() {
    tests::block_on(async {
        let fixture = Fixture::start(Want::ControlPlane).await;
        let Context { stack, stop, .. } = &fixture.context;
        let (cloud, _) = fixture.context.observe().await.expect("the account can be observed");
        let take = async || {
            lock::take(&cloud, stack, ("up", "ann@laptop"), &[], &Events::none(), stop)
                .await
                .expect("it is free")
        };
        // As if it had slept: whoever took it for dead is done, and a third one holds a lock of that name.
        let slept = take().await;
        fixture.raw().ssm("DeleteParameter", &json!({ "Name": format!("{}/1", stack.lock_path()) })).await;
        let third = take().await;
        slept.give_back(&Events::none()).await;
        let (_, seen) = fixture.context.observe().await.expect("the account can be observed");
        assert_eq!(seen.locks.len(), 1, "{:?}", seen.locks);
        third.give_back(&Events::none()).await;
        let (_, seen) = fixture.context.observe().await.expect("the account can be observed");
        assert_eq!(seen.locks, []);
        fixture.stop().await;
    });
}
