use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use stack::{Event, Events};
use tokio::sync::Semaphore;
use tokio::task::{Id, JoinError, JoinSet};

use super::engine::{self, Stopped};
use super::plan;
use crate::{ConnectOptions, Error, Login, Migration, Server, Session, connect, lock};

/// How to migrate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOptions {
    /// How many tenants at a time, each over one connection.
    pub jobs: usize,
    /// How long to wait for another run on the same database.
    pub lock_limit: Duration,
    /// How to connect; `lock_timeout` and `statement_timeout` hold for every migration.
    pub connect: ConnectOptions,
}

impl Default for RunOptions {
    fn default() -> RunOptions {
        RunOptions { jobs: 4, lock_limit: Duration::from_secs(60), connect: ConnectOptions::default() }
    }
}

/// What became of one tenant.
#[derive(Debug, Serialize)]
pub struct TenantReport {
    /// The tenant.
    pub tenant: String,
    /// What was done.
    pub outcome: Outcome,
    /// How long it took, the wait for the lock included.
    #[serde(skip)]
    pub elapsed: Duration,
}

/// What was done for a tenant.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Outcome {
    /// There was nothing to do; nothing was written.
    UpToDate,
    /// All that was pending is applied.
    Applied {
        /// In order: `V3__add_orders`.
        migrations: Vec<String>,
    },
    /// It stopped. What was applied before stays, what failed was rolled back: the next run goes on from there.
    Failed {
        /// What was applied before.
        applied: Vec<String>,
        /// The migration that failed, if it came to that.
        migration: Option<String>,
        /// What went wrong.
        error: Error,
    },
}

/// Migrates every tenant, as its own role so that all it makes belongs to it.
///
/// Returns one report for each login, in their order; a failed tenant does not stop the others.
/// Dropping the future ends every connection: the server rolls back what is not committed.
pub async fn run(
    server: &Server,
    logins: &[Login],
    migrations: &[Migration],
    options: &RunOptions,
    events: &Events,
) -> Vec<TenantReport> {
    let task = Arc::new(Task {
        server: server.clone(),
        migrations: migrations.to_vec(),
        options: options.clone(),
        events: events.clone(),
        // A connection for each tenant at once would take the server's last.
        free: Semaphore::new(options.jobs.max(1)),
    });
    let mut running = JoinSet::new();
    let mut places: HashMap<Id, usize> = HashMap::new();
    for (place, login) in logins.iter().cloned().enumerate() {
        let handle = running.spawn(migrate(Arc::clone(&task), login));
        places.insert(handle.id(), place);
    }

    let mut reports: Vec<Option<TenantReport>> = logins.iter().map(|_| None).collect();
    while let Some(joined) = running.join_next_with_id().await {
        let (id, report) = match joined {
            Ok((id, report)) => (id, Ok(report)),
            Err(error) => (error.id(), Err(error)),
        };
        let Some(&place) = places.get(&id) else { continue };
        reports[place] =
            Some(report.unwrap_or_else(|error| broken_off(&logins[place].database, error, events)));
    }
    reports.into_iter().flatten().collect()
}

struct Task {
    server: Server,
    migrations: Vec<Migration>,
    options: RunOptions,
    events: Events,
    free: Semaphore,
}

async fn migrate(task: Arc<Task>, login: Login) -> TenantReport {
    let tenant = login.database.clone();
    let subject = subject(&tenant);
    // The semaphore is never closed; without a permit the tenant would only run too early.
    let _permit = task.free.acquire().await.ok();
    let start = Instant::now();
    task.events.emit(Event::StepStarted { subject: subject.clone(), verb: "migrate".to_owned() });
    let outcome = match Box::pin(attempt(&task, &login)).await {
        Ok(applied) if applied.is_empty() => Outcome::UpToDate,
        Ok(migrations) => Outcome::Applied { migrations },
        Err(Stopped { applied, migration, error }) => Outcome::Failed { applied, migration, error },
    };
    let elapsed = start.elapsed();
    task.events.emit(match &outcome {
        Outcome::UpToDate => Event::StepFinished { subject, outcome: "up to date".to_owned(), elapsed },
        Outcome::Applied { migrations } => {
            Event::StepFinished { subject, outcome: format!("applied {}", migrations.join(", ")), elapsed }
        }
        Outcome::Failed { error, .. } => Event::StepFailed { subject, error: error.chain() },
    });
    TenantReport { tenant, outcome, elapsed }
}

async fn attempt(task: &Task, login: &Login) -> Result<Vec<String>, Stopped> {
    let mut session = connect(&task.server, login, &task.options.connect).await.map_err(before_the_first)?;
    let result = apply(task, &mut session, &login.database).await;
    // Also after a failure, so that the lock is free for whoever tries next.
    session.close().await;
    result
}

async fn apply(task: &Task, session: &mut Session, tenant: &str) -> Result<Vec<String>, Stopped> {
    lock::acquire(session, lock::MIGRATIONS, &subject(tenant), task.options.lock_limit, &task.events)
        .await
        .map_err(before_the_first)?;
    // Only now: what another run applied while we waited is no longer due.
    let plan = plan::observe(session, tenant, &task.migrations).await.map_err(before_the_first)?;
    let problems = plan.problems();
    if !problems.is_empty() {
        return Err(before_the_first(Error::Diverged { tenant: tenant.to_owned(), problems }));
    }
    if plan.pending.is_empty() {
        return Ok(Vec::new());
    }
    let applied = engine::apply(session, tenant, &task.migrations, &plan.pending).await?;
    match lock::release(session, lock::MIGRATIONS).await {
        Ok(()) => Ok(applied),
        Err(error) => Err(Stopped { applied, migration: None, error }),
    }
}

fn before_the_first(error: Error) -> Stopped {
    Stopped { applied: Vec::new(), migration: None, error }
}

fn broken_off(tenant: &str, error: JoinError, events: &Events) -> TenantReport {
    let reason = match error.try_into_panic() {
        Ok(panic) => panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("panic")
            .to_owned(),
        Err(error) => error.to_string(),
    };
    let error = Error::Panicked { tenant: tenant.to_owned(), reason };
    events.emit(Event::StepFailed { subject: subject(tenant), error: error.chain() });
    let outcome = Outcome::Failed { applied: Vec::new(), migration: None, error };
    TenantReport { tenant: tenant.to_owned(), outcome, elapsed: Duration::ZERO }
}

fn subject(tenant: &str) -> String {
    format!("tenant {tenant}")
}
