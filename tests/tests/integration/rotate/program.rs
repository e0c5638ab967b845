//! `secret rotate` as a user types it.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws::Stop;
use db::{BoxStream, Dial};
use deploy::context::Context;
use deploy::db_task::DbTask;
use deploy::failure::Exit;
use deploy::task::secret::rotate::{Outcome, Stage as Reached, Target, rotate};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sandbox::gateway::{Fault, FaultKind};
use serde_json::json;
use tests::{LIMIT, Ran};

use super::{Stage, through};

const ROLE: &str = "startupwebapp_prod";

impl Stage {
    async fn stages(&self, target: &Target, id: &str) -> serde_json::Value {
        let name = target.secret_name(&self.fixture.context.stack);
        let described = self.fixture.raw().secrets("DescribeSecret", &json!({ "SecretId": name })).await;
        let described: serde_json::Value = serde_json::from_str(&described).unwrap();
        described["VersionIdsToStages"][id].clone()
    }

    fn inject(&self, operation: &str, kind: FaultKind) {
        let operation = Some(operation.to_owned());
        self.fixture.cloud.gateway().inject(Fault { service: None, operation, nth: 1, kind });
    }

    async fn run(&self, args: &[&str], code: i32) -> Ran {
        self.fixture.run(args).await.expect(code)
    }
}

fn kinds(ran: &Ran) -> Vec<String> {
    let document = ran.json();
    let roles = document["roles"].as_array().unwrap();
    roles.iter().map(|one| one["outcome"]["kind"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn all_passwords_are_rotated_and_the_old_ones_are_refused() {
    tests::block_on(async {
        let stage = Stage::start().await;
        let mut shown = String::new();
        let mut before = Vec::new();
        for target in stage.targets() {
            before.push((stage.versions(&target).await.current, target));
        }

        let planned = stage.run(&["secret", "rotate", "--all", "--dry-run", "--json"], 0).await.json();
        let would: Vec<_> = planned["roles"].as_array().unwrap().iter().map(|one| &one["would"]).collect();
        assert_eq!(would, ["rotate"; 4]);
        for (old, target) in &before {
            assert_eq!(stage.versions(target).await.current.id, old.id, "a dry run changes nothing");
        }
        let refused = stage.run(&["secret", "rotate", ROLE], 2).await;
        assert!(refused.stderr.contains("--yes"), "{}", refused.stderr);

        let ran = stage.run(&["secret", "rotate", "--all", "--yes", "--json", "--verbose"], 0).await;
        assert_eq!(kinds(&ran), ["rotated"; 4]);
        shown.extend([ran.stdout, ran.stderr]);
        for (old, target) in &before {
            stage.expect_settled(target).await;
            assert!(!stage.logs_in(target, old).await, "{target:?}: the old password still logs in");
            let new = stage.versions(target).await.current;
            assert_eq!(stage.stages(target, &new.id).await, json!(["AWSCURRENT"]));
            assert_eq!(stage.stages(target, &old.id).await, json!(["AWSPREVIOUS"]));
        }
        for task in [["tenant", "verify"], ["tenant", "create"], ["plan", "--check"], ["migrate", "--plan"]] {
            let ran = stage.run(&task, 0).await;
            shown.extend([ran.stdout, ran.stderr]);
        }
        stage.expect_no_password(&shown);
        stage.stop().await;
    });
}

#[test]
fn a_rotation_that_was_cut_off_hinders_no_task_and_is_finished_by_the_next() {
    tests::block_on(async {
        let stage = Stage::start().await;
        let mut shown = String::new();
        let targets = stage.targets();
        for target in [&targets[0], &targets[targets.len() - 1]] {
            stage.cut_off(target).await;
            let versions = stage.versions(target).await;
            assert!(!stage.logs_in(target, &versions.current).await, "the server knows the pending one");
        }
        for task in [
            ["tenant", "verify"].as_slice(),
            &["migrate"],
            &["psql", ROLE, "--", "-X", "-c", "SELECT 1"],
            &["secret", "rotate", "--all", "--dry-run"],
        ] {
            let ran = stage.run(task, 0).await;
            assert!(ran.stderr.contains("`cargo xtask secret rotate ") || task[0] == "secret", "{ran:?}");
            shown.extend([ran.stdout, ran.stderr]);
        }
        let ran = stage.run(&["secret", "rotate", "--all", "--yes", "--json"], 0).await;
        assert_eq!(kinds(&ran), ["finished", "rotated", "rotated", "finished"]);
        shown.extend([ran.stdout, ran.stderr]);

        // With a program of its own and SIGKILL. Its far end lives on, with the lock, until the server misses it.
        for (operation, name) in [("PutSecretValue", ROLE), ("ModifyDBInstance", "master")] {
            stage.inject(operation, FaultKind::Hold);
            let mut program = stage.fixture.program(&["secret", "rotate", name, "--yes"]);
            let mut program = program.stderr(Stdio::null()).spawn().unwrap();
            let fired = tokio::time::timeout(LIMIT, stage.fixture.cloud.gateway().wait_until_fired()).await;
            program.kill().unwrap();
            program.wait().unwrap();
            fired.unwrap_or_else(|_| panic!("{name} is rotated without {operation}"));
            let ran = stage.run(&["secret", "rotate", name, "--yes"], 0).await;
            assert!(ran.stdout.contains("finished"), "{operation}: {ran:?}");
            for target in &targets {
                stage.expect_settled(target).await;
            }
        }
        stage.expect_no_password(&shown);
        stage.stop().await;
    });
}

#[test]
fn a_call_that_fails_is_told_with_what_logs_in_and_what_to_type_next() {
    tests::block_on(async {
        let stage = Stage::start().await;
        let mut shown = String::new();
        // As often as the SDK asks.
        for _ in 0..4 {
            stage.inject("PutSecretValue", FaultKind::Throttle);
        }
        let ran = stage.run(&["secret", "rotate", ROLE, "--yes"], 4).await;
        assert!(ran.stdout.contains("not rotated, the password in `AWSCURRENT` still logs in"), "{ran:?}");
        assert!(ran.stderr.contains(&format!("cargo xtask secret rotate {ROLE}")), "{ran:?}");
        shown.extend([ran.stdout, ran.stderr]);

        for (operation, name, state) in [
            ("UpdateSecretVersionStage", ROLE, "the password in `AWSPENDING` logs in"),
            ("ModifyDBInstance", "master", "the password in `AWSCURRENT` or the one in `AWSPENDING` logs in"),
        ] {
            stage.inject(operation, FaultKind::refusal());
            let ran = stage.run(&["secret", "rotate", name, "--yes"], 4).await;
            assert!(ran.stderr.contains(operation), "{ran:?}");
            assert!(ran.stderr.contains(&format!("`cargo xtask secret rotate {name}`")), "{ran:?}");
            assert!(ran.stderr.contains(state), "{ran:?}");
            let again = stage.run(&["secret", "rotate", name, "--yes", "--json"], 0).await;
            assert_eq!(kinds(&again), ["finished"]);
            shown.extend([ran.stdout, ran.stderr, again.stdout, again.stderr]);
        }

        // One of all: the others are rotated, and it is the only one to go on with.
        stage.inject("ModifyDBInstance", FaultKind::refusal());
        let ran = stage.run(&["secret", "rotate", "--all", "--yes", "--json"], 7).await;
        assert_eq!(kinds(&ran), ["rotated", "rotated", "rotated", "failed"]);
        assert_eq!(ran.json()["roles"][3]["outcome"]["stage"], "changing");
        assert!(ran.stderr.contains("`cargo xtask secret rotate master`"), "{ran:?}");
        // A lost reply is nobody's business.
        for operation in ["PutSecretValue", "UpdateSecretVersionStage", "ModifyDBInstance"] {
            stage.inject(operation, FaultKind::LostReply);
        }
        stage.run(&["secret", "rotate", "--all", "--yes"], 0).await;
        for target in stage.targets() {
            stage.expect_settled(&target).await;
        }
        stage.expect_no_password(&shown);
        stage.stop().await;
    });
}

/// A way to the server on which somebody presses Ctrl-C at the n-th connection.
struct Interrupting {
    inner: Arc<dyn Dial>,
    left: AtomicUsize,
    stop: Stop,
}

impl Dial for Interrupting {
    fn dial(&self) -> BoxFuture<'_, std::io::Result<BoxStream>> {
        if self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.stop.raise();
        }
        self.inner.dial().boxed()
    }
}

#[test]
fn ctrl_c_stops_between_two_steps_and_says_which_password_logs_in() {
    tests::block_on(async {
        let stage = Stage::start().await;
        let targets = stage.targets();
        // The first connection is the master user's, the second proves the new password.
        for (connection, reached) in [(1, Reached::Untouched), (2, Reached::Proved)] {
            let stop = Stop::new();
            let context = Context { stop: stop.clone(), ..stage.fixture.context.clone() };
            let (inner, left) = (stage.server.dial.clone(), AtomicUsize::new(connection));
            let server = through(&stage.server, Interrupting { inner, left, stop });
            let task = DbTask { context: &context, cloud: &stage.cloud, server: &server };
            let rotated = rotate(task, &targets[..1]).await.unwrap();
            let Outcome::Failed { stage: at, failure } = &rotated[0].outcome else { panic!("{rotated:?}") };
            assert_eq!((*at, failure.exit), (reached, Exit::Interrupted));
            stage.rotate(&targets[..1]).await;
            stage.expect_settled(&targets[0]).await;
        }
        stage.stop().await;
    });
}

#[test]
fn a_role_that_owns_no_tenant_is_refused_before_anything_is_contacted() {
    for name in ["nobody", "a\"; DROP ROLE x; --", "postgres", ""] {
        let ran = tests::run(tests::program(&["secret", "rotate", name, "--yes"])).expect(2);
        assert!(ran.stderr.starts_with("error: no tenant of the stack file belongs to a role `"), "{ran:?}");
    }
    tests::run(tests::program(&["secret", "rotate"])).expect(2);
    tests::run(tests::program(&["secret", "rotate", "--all", "master"])).expect(2);
}
