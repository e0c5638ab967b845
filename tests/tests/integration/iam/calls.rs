//! What a task calls, and whether its policy allows that and no more.

use std::collections::BTreeSet;
use std::time::Duration;

use sandbox::gateway::Disconnect;
use stack::policy::{self, Task};
use tests::Fixture;

/// Returns the name by which IAM knows a service: requests to CloudWatch are signed for another one.
fn iam_name(service: &str) -> &str {
    if service == "monitoring" { "cloudwatch" } else { service }
}

/// The calls of one task's runs.
pub(super) struct Recording<'a> {
    fixture: &'a Fixture,
    task: Task,
    calls: BTreeSet<String>,
}

impl<'a> Recording<'a> {
    pub(super) fn of(fixture: &'a Fixture, task: Task) -> Recording<'a> {
        Recording { fixture, task, calls: BTreeSet::new() }
    }

    /// Goes on in another account.
    pub(super) fn on(&mut self, fixture: &'a Fixture) {
        self.fixture = fixture;
    }

    /// Runs the program and notes its calls.
    pub(super) async fn run(&mut self, args: &[&str], code: i32) {
        let before = self.fixture.cloud.gateway().journal().len();
        let ran = self.fixture.run(args).await;
        assert_eq!(ran.code, code, "{args:?}: {}", ran.stderr);
        self.note(before);
    }

    /// The same, until a session was lost once and resumed.
    pub(super) async fn run_on_a_line_that_breaks(&mut self, args: &[&str], code: i32) {
        let gateway = self.fixture.cloud.gateway();
        let resumed =
            |since: usize| gateway.journal()[since..].iter().any(|call| call.operation == "ResumeSession");
        // A run may be over before its line breaks.
        for _ in 0..10 {
            let before = gateway.journal().len();
            let breaking = async {
                while !resumed(before) {
                    gateway.disconnect(Disconnect::Closed);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                std::future::pending::<()>().await;
            };
            let ran = tokio::select! {
                ran = self.fixture.run(args) => ran,
                () = breaking => unreachable!("it never ends"),
            };
            assert_eq!(ran.code, code, "{args:?}: {}", ran.stderr);
            self.note(before);
            if resumed(before) {
                return;
            }
        }
        panic!("{args:?}: no session was resumed in ten runs");
    }

    fn note(&mut self, before: usize) {
        let journal = self.fixture.cloud.gateway().journal();
        let calls =
            journal[before..].iter().map(|call| format!("{}:{}", iam_name(&call.service), call.operation));
        self.calls.extend(calls);
    }

    /// The policy allows what IAM asks for at these calls: not less, and not more.
    pub(super) fn expect_exactly_the_policy(&self) {
        let implied = policy::implied_by(self.calls.iter().map(String::as_str));
        let implied =
            implied.unwrap_or_else(|unknown| panic!("{:?}: add to policy/table.rs: {unknown:?}", self.task));
        let allowed = self.task.actions();
        let missing: Vec<_> = implied.difference(&allowed).collect();
        let never_used: Vec<_> = allowed.difference(&implied).collect();
        assert!(
            missing.is_empty() && never_used.is_empty(),
            "{:?}: the policy lacks {missing:?}, and allows {never_used:?} for nothing",
            self.task
        );
    }
}
