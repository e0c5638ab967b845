//! One rotation, step by step: store the new password, tell the server, log in with it, make it the current one.
//!
//! Cut off between any two of these, the server knows the password of one of two versions of the secret, and the next
//! rotation goes on from there with the same new password.

use std::fmt;
use std::time::{Duration, Instant};

use aws::Cloud;
use aws::secret::Version;
use aws::secret::rotate::{self, Versions};
use db::role::PasswordCheck;
use db::{ConnectOptions, Login, Session, lock};
use futures_util::StreamExt;
use futures_util::stream;
use serde::Serialize;
use stack::spec::{Rotation, clone_of, is_clone_of};
use stack::{Event, Stack};

use crate::bridge;
use crate::context::Context;
use crate::db_task::DbTask;
use crate::failure::{Exit, Failure};

/// How many roles at the same time.
const AT_ONCE: usize = 8;
/// How long RDS may take from "done" to a login with the new master password.
const KNOWN_WITHIN: Duration = Duration::from_secs(5 * 60);

/// Whose password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A role that owns tenants; with one of its databases, for the login that proves the password.
    Role {
        /// The role.
        role: String,
        /// The database.
        database: String,
        /// Whether it is rotated with a second user.
        rotation: Rotation,
    },
    /// The master user, whose password RDS sets.
    Master,
}

impl Target {
    /// Returns what the command line calls it.
    pub fn name(&self) -> &str {
        match self {
            Target::Role { role, .. } => role,
            Target::Master => bridge::MASTER,
        }
    }

    /// Returns the full name of its secret.
    pub fn secret_name(&self, stack: &Stack) -> String {
        match self {
            Target::Role { role, .. } => stack.role_secret_name(role),
            Target::Master => stack.master_secret_name(),
        }
    }

    /// Returns its login with that version of its secret.
    pub fn login(&self, stack: &Stack, version: &Version) -> Login {
        let (user, database) = match self {
            Target::Role { role, database, .. } => (user_of(role, version), database.clone()),
            Target::Master => (stack.database.master_user.clone(), "postgres".to_owned()),
        };
        Login { user, password: version.password.clone(), database }
    }

    /// Returns the versions of its secret. One that somebody else wrote over is made whole by the rotation, but for the
    /// master's: without its password nobody can tell the server anything.
    async fn versions(&self, cloud: &Cloud, stack: &Stack) -> Result<Versions, aws::Error> {
        let name = self.secret_name(stack);
        match self {
            Target::Role { role, .. } => Box::pin(rotate::get_or_rebuild(cloud, stack, &name, role)).await,
            Target::Master => Box::pin(rotate::get(cloud, stack, &name)).await,
        }
    }

    /// Returns whose password the version after that one has.
    fn next_user(&self, stack: &Stack, current: &Version) -> String {
        match self {
            Target::Role { role, rotation: Rotation::TwoUsers, .. } if user_of(role, current) == *role => {
                clone_of(role)
            }
            Target::Role { role, .. } => role.clone(),
            Target::Master => stack.database.master_user.clone(),
        }
    }
}

/// Returns the user that a version of a role's secret is about: the role, or its clone.
fn user_of(role: &str, version: &Version) -> String {
    let named = version.user.as_deref().filter(|user| is_clone_of(user, role));
    named.unwrap_or(role).to_owned()
}

/// How far a rotation has come, which decides which password logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The server was told nothing.
    Untouched,
    /// The server may or may not have been told.
    Changing,
    /// The new password has logged in.
    Proved,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Untouched => "the password in `AWSCURRENT` still logs in",
            Stage::Changing => "the password in `AWSCURRENT` or the one in `AWSPENDING` logs in",
            Stage::Proved => "the password in `AWSPENDING` logs in",
        })
    }
}

/// What became of one rotation.
#[derive(Debug)]
pub struct Rotated {
    /// Whose password.
    pub target: Target,
    /// What was done.
    pub outcome: Outcome,
}

/// What was done.
#[derive(Debug)]
pub enum Outcome {
    /// There is a new password.
    Rotated,
    /// There is the new password of a rotation that was cut off.
    Finished,
    /// It failed, or was interrupted; the others went on.
    Failed {
        /// How far it came.
        stage: Stage,
        /// Why.
        failure: Failure,
    },
}

/// Rotates the passwords: the roles' first, some at the same time, the master user's last.
///
/// # Errors
/// What concerns all of them: a secret that is not the stack's (2), no connection as the master user, or somebody else holds
/// the lock. What concerns one is in its outcome.
pub async fn rotate(task: DbTask<'_>, targets: &[Target]) -> Result<Vec<Rotated>, Failure> {
    let DbTask { context, cloud, .. } = task;
    // All of them before the first is touched: a foreign one among them says that the names are another stack's.
    let names = targets.iter().map(|target| target.secret_name(&context.stack)).collect();
    Box::pin(aws::secret::check_all(cloud, &context.stack, &names)).await?;
    let work = Work { task, admin: admin(task).await? };
    let rotated = Box::pin(work.all(targets)).await;
    // The lock ends with the session.
    if let Some(session) = work.admin {
        session.close().await;
    }
    Ok(rotated)
}

/// Returns the master user's session, which holds the lock that keeps out other rotations; nothing if the server knows
/// neither of its passwords, as it may while RDS is at work.
async fn admin(task: DbTask<'_>) -> Result<Option<Session>, Failure> {
    let DbTask { context, cloud, server } = task;
    let target = Target::Master;
    let versions = rotate::get(cloud, &context.stack, &target.secret_name(&context.stack)).await?;
    let login = target.login(&context.stack, &versions.current);
    let login = match &versions.pending {
        Some(pending) => bridge::choose(server, login, target.login(&context.stack, pending)).await?,
        None => login,
    };
    let session = match db::connect(server, &login, &ConnectOptions::default()).await {
        Ok(session) => session,
        Err(error) if error.sqlstate() == Some("28P01") => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    lock::acquire(&session, lock::TENANTS, "passwords", lock::LOCK_LIMIT, &context.events).await?;
    Ok(Some(session))
}

struct Work<'a> {
    task: DbTask<'a>,
    admin: Option<Session>,
}

impl Work<'_> {
    async fn all(&self, targets: &[Target]) -> Vec<Rotated> {
        let (roles, masters): (Vec<&Target>, Vec<&Target>) =
            targets.iter().partition(|target| matches!(target, Target::Role { .. }));
        let begun: Vec<_> = roles.into_iter().map(|role| Box::pin(self.one(role))).collect();
        let mut rotated: Vec<Rotated> = stream::iter(begun).buffered(AT_ONCE).collect().await;
        for master in masters {
            rotated.push(self.one(master).await);
        }
        rotated
    }

    async fn one(&self, target: &Target) -> Rotated {
        let events = &self.task.context.events;
        let subject = format!("password of {}", target.name());
        let start = Instant::now();
        events.emit(Event::StepStarted { subject: subject.clone(), verb: "rotate".to_owned() });
        let mut stage = Stage::Untouched;
        let outcome = match Box::pin(self.advance(target, &mut stage)).await {
            Ok(outcome) => outcome,
            Err(failure) => Outcome::Failed { stage, failure },
        };
        events.emit(match &outcome {
            Outcome::Failed { failure, .. } => Event::StepFailed { subject, error: failure.chain() },
            Outcome::Rotated => finished(subject, "rotated", start),
            Outcome::Finished => finished(subject, "rotation finished", start),
        });
        Rotated { target: target.clone(), outcome }
    }

    async fn advance(&self, target: &Target, stage: &mut Stage) -> Result<Outcome, Failure> {
        self.task.context.check_interrupted()?;
        self.expect_role(target).await?;
        let versions = target.versions(self.task.cloud, &self.task.context.stack).await?;
        let (pending, outcome) = match &versions.pending {
            Some(pending) => {
                *stage = Stage::Changing;
                (pending.clone(), Outcome::Finished)
            }
            None => {
                let user = target.next_user(&self.task.context.stack, &versions.current);
                (rotate::put_pending(self.task.cloud, &versions, &user).await?, Outcome::Rotated)
            }
        };
        let login = target.login(&self.task.context.stack, &pending);
        let known = versions.pending.is_some() && self.check(&login).await? == PasswordCheck::Right;
        if !known {
            self.task.context.check_interrupted()?;
            *stage = Stage::Changing;
            self.change(target, &versions.current, &login).await?;
            self.prove(target, &login).await?;
        }
        *stage = Stage::Proved;
        self.task.context.check_interrupted()?;
        self.promote(target, &versions, &pending).await?;
        Ok(outcome)
    }

    /// A secret without a role is found before there is a new password that nobody would ever know.
    async fn expect_role(&self, target: &Target) -> Result<(), Failure> {
        let Target::Role { role, database, .. } = target else { return Ok(()) };
        match db::role::find(self.admin()?, role).await? {
            Some(_) => Ok(()),
            None => {
                let text = format!("the server has no role `{role}`");
                Err(Failure::new(Exit::Failure, anyhow::Error::msg(text))
                    .hint(format!("run `cargo xtask tenant create {database}`")))
            }
        }
    }

    async fn change(&self, target: &Target, current: &Version, login: &Login) -> Result<(), Failure> {
        let password = &login.password;
        let Context { stack, events, stop, .. } = self.task.context;
        match target {
            // By the session that holds the lock: once that is lost, no other rotation is overtaken.
            Target::Role { role, .. } if is_clone_of(&login.user, role) => {
                Ok(db::role::ensure_clone(self.admin()?, role, password).await?)
            }
            // One user from the clone on, which is current until the end, or in turn: the clone is still to log in.
            Target::Role { role, .. } if user_of(role, current) != *role => {
                Ok(db::role::set_password(self.admin()?, role, password).await?)
            }
            Target::Role { role, .. } => {
                Ok(db::role::set_only_password(self.admin()?, role, password).await?)
            }
            Target::Master => {
                if let Some(session) = &self.admin {
                    session.ping().await?;
                }
                Ok(rotate::set_master_password(self.task.cloud, stack, password, events, stop).await?)
            }
        }
    }

    /// Logs in with the new password; RDS says that it is done a little before the server knows the master's.
    async fn prove(&self, target: &Target, login: &Login) -> Result<(), Failure> {
        let limit = if *target == Target::Master { KNOWN_WITHIN } else { Duration::ZERO };
        let start = Instant::now();
        let mut pause = Duration::from_millis(200);
        let why = loop {
            match self.check(login).await? {
                PasswordCheck::Right => return Ok(()),
                PasswordCheck::Unproved => {
                    break "the server asks for no proof of the password (SCRAM-SHA-256), so that a login proves nothing; see \
                           its parameter `password_encryption`";
                }
                PasswordCheck::Wrong if start.elapsed() >= limit => {
                    break "the server refuses the password that was just set";
                }
                PasswordCheck::Wrong => (),
            }
            tokio::select! {
                () = self.task.context.stop.raised() => self.task.context.check_interrupted()?,
                () = tokio::time::sleep(pause) => (),
            }
            pause = (pause * 2).min(Duration::from_secs(5));
        };
        Err(Failure::new(Exit::Failure, anyhow::Error::msg(why)))
    }

    async fn promote(&self, target: &Target, versions: &Versions, pending: &Version) -> Result<(), Failure> {
        rotate::promote(self.task.cloud, versions, pending).await?;
        if let Err(error) = rotate::clear_pending(self.task.cloud, &versions.name, pending).await {
            let chain = Failure::from(error).chain();
            self.task.context.events.warn(format!(
                "the new password of `{}` is in `AWSCURRENT`, and has the label AWSPENDING as well, which does no \
                 harm: {chain}",
                target.name()
            ));
        }
        Ok(())
    }

    async fn check(&self, login: &Login) -> Result<PasswordCheck, db::Error> {
        db::role::check_password(self.task.server, login, &ConnectOptions::default()).await
    }

    fn admin(&self) -> Result<&Session, Failure> {
        self.admin.as_ref().ok_or_else(|| {
            let text = "the server refuses the master user's password, the current one and the pending one";
            Failure::new(Exit::Failure, anyhow::Error::msg(text))
                .hint("run `cargo xtask secret rotate master`, which has RDS set a new one")
        })
    }
}

fn finished(subject: String, outcome: &str, start: Instant) -> Event {
    Event::StepFinished { subject, outcome: outcome.to_owned(), elapsed: start.elapsed() }
}
