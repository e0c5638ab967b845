//! Passwords are rotated on a real PostgreSQL: cut off anywhere, one of the two logs in, and the next run goes on.

#![expect(clippy::unwrap_used, reason = "a test that cannot prepare itself has failed")]

mod kill;
mod program;
mod two_users;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use aws::Cloud;
use aws::secret::Version;
use aws::secret::rotate::{self, Versions};
use db::role::{PasswordCheck, check_password};
use db::{ConnectOptions, Server};
use deploy::bridge::Bridge;
use deploy::db_task::DbTask;
use deploy::task::secret::rotate::{Outcome, Rotated, Target, rotate};
use sandbox::Pacing;
use tests::{Fixture, Want};

/// A stack with its tenants, and a tunnel to its database.
struct Stage {
    fixture: Fixture,
    cloud: Cloud,
    bridge: Bridge,
    server: Server,
    /// Every password that a secret was seen to hold.
    passwords: Mutex<BTreeSet<String>>,
}

impl Stage {
    async fn start() -> Stage {
        let fixture = Fixture::start_agent(Want::Databases, |agent| agent.pacing = Pacing::Unlimited).await;
        fixture.run(&["up", "--yes"]).await.expect(0);
        fixture.run(&["tenant", "create"]).await.expect(0);
        let context = &fixture.context;
        let (cloud, inventory) = context.observe().await.expect("the account can be observed");
        let bridge = Bridge::to_database(context, &cloud, &inventory).await.expect("the tunnel opens");
        let server = bridge.server(context).expect("the roots are there");
        Stage { fixture, cloud, bridge, server, passwords: Mutex::default() }
    }

    /// Returns what a rotation works with on that server.
    fn on<'a>(&'a self, server: &'a Server) -> DbTask<'a> {
        DbTask { context: &self.fixture.context, cloud: &self.cloud, server }
    }

    /// Returns every target: the roles, then the master user.
    fn targets(&self) -> Vec<Target> {
        let tenants = self.fixture.context.stack.tenants.iter();
        let role = |tenant: &stack::spec::Tenant| Target::Role {
            role: tenant.owner.clone(),
            database: tenant.name.clone(),
            rotation: tenant.rotation,
        };
        tenants.map(role).chain([Target::Master]).collect()
    }

    async fn versions(&self, target: &Target) -> Versions {
        let name = target.secret_name(&self.fixture.context.stack);
        let versions =
            rotate::get(&self.cloud, &self.fixture.context.stack, &name).await.expect("there is a secret");
        let mut passwords = self.passwords.lock().expect("nobody panicked with it");
        for version in [Some(&versions.current), versions.pending.as_ref()].into_iter().flatten() {
            passwords.insert(version.password.expose().to_owned());
        }
        drop(passwords);
        versions
    }

    /// No password is in `shown`, nor in any file of the sandbox, where the server logs every statement.
    fn expect_no_password(&self, shown: &str) {
        let dir = self.fixture.cloud.dir();
        let logs = tests::files_with(dir, ["PASSWORD 'SCRAM-SHA-256$"]);
        assert!(!logs.is_empty(), "the server's log is not where it was looked for");
        let passwords = self.passwords.lock().expect("nobody panicked with it");
        let files = tests::files_with(dir, passwords.iter().map(String::as_str));
        assert!(files.is_empty(), "one of {} passwords is in {files:?}", passwords.len());
        for password in passwords.iter() {
            assert!(!shown.contains(password.as_str()), "one of {} passwords is shown", passwords.len());
        }
    }

    async fn logs_in(&self, target: &Target, version: &Version) -> bool {
        let login = target.login(&self.fixture.context.stack, version);
        let checked = check_password(&self.server, &login, &ConnectOptions::default()).await;
        checked.expect("the server answers") == PasswordCheck::Right
    }

    /// Rotates to the end.
    async fn rotate(&self, targets: &[Target]) -> Vec<Rotated> {
        let rotated = rotate(self.on(&self.server), targets).await;
        let rotated = rotated.unwrap_or_else(|failure| panic!("{}", failure.render_text()));
        for one in &rotated {
            if let Outcome::Failed { stage, failure } = &one.outcome {
                panic!("{:?}, {stage:?}: {}", one.target, failure.render_text());
            }
        }
        rotated
    }

    /// The current password logs in, and no other is left.
    async fn expect_settled(&self, target: &Target) {
        let versions = self.versions(target).await;
        assert!(versions.pending.is_none(), "{target:?}: a version is still pending");
        assert!(self.logs_in(target, &versions.current).await, "{target:?}: locked out");
    }

    /// Leaves the server with a new password of the target's that is in `AWSPENDING` alone.
    async fn cut_off(&self, target: &Target) {
        let context = &self.fixture.context;
        let versions = self.versions(target).await;
        let user = versions.current.user.clone().unwrap();
        let pending = rotate::put_pending(&self.cloud, &versions, &user).await.unwrap();
        if let Target::Role { role, .. } = target {
            let master = deploy::bridge::master(context, &self.cloud).await.unwrap();
            let session = db::connect(&self.server, &master, &ConnectOptions::default()).await.unwrap();
            db::role::set_password(&session, role, &pending.password).await.unwrap();
            session.close().await;
        } else {
            let (stack, events, stop) = (&context.stack, &context.events, &context.stop);
            rotate::set_master_password(&self.cloud, stack, &pending.password, events, stop).await.unwrap();
        }
    }

    async fn stop(self) {
        let Stage { fixture, bridge, server, .. } = self;
        drop(server);
        bridge.close().await;
        fixture.stop().await;
    }
}

/// Returns the server, reached in another way.
fn through(server: &Server, dial: impl db::Dial) -> Server {
    Server { dial: Arc::new(dial), ..server.clone() }
}
