//! Migrates many tenants, wave by wave, with a limit on how many run at a time. A tenant that fails stops no other.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stack::spec::OnError;
use stack::{Event, Events};
use tokio::task::{Id, JoinError, JoinSet};

use super::aside::Aside;
use super::options::{Check, RunOptions, Wave};
use super::outcome::{Outcome, SkipReason, TenantReport};
use super::plan::{self, Compared, TenantPlan};
use super::target::Target;
use super::task::{self, Task};
use super::{connect, lock_and_read, subject};
use crate::migration::MigrationSet;
use crate::{Error, Login, Migration, Server, Session};

/// Migrates every tenant with the files that lie flat, as [`run_sets`] does.
pub async fn run(
    server: &Server,
    logins: &[Login],
    migrations: &[Migration],
    options: &RunOptions,
    events: &Events,
) -> Vec<TenantReport> {
    let targets = Target::all(logins, MigrationSet::flat(migrations.to_vec()));
    run_sets(server, &targets, options, events).await
}

/// Migrates every tenant with its own set, as its own role, so that the role owns what the files create.
///
/// Returns one report for each target, in their order. A failed tenant does not stop the others of its wave. Waves,
/// error budget and `jobs` apply to all sets together.
///
/// Dropping the future ends every connection, and then nobody knows whether the server still commits what it has received.
/// [`RunOptions::stop`] avoids that.
pub async fn run_sets(
    server: &Server,
    targets: &[Target],
    options: &RunOptions,
    events: &Events,
) -> Vec<TenantReport> {
    let (server, options, events) = (server.clone(), options.clone(), events.clone());
    let task = Arc::new(Task { server, options, events, aside: Aside::default() });
    let mut fleet = Fleet {
        task: Arc::clone(&task),
        targets,
        kept: HashMap::new(),
        reports: targets.iter().map(|_| None).collect(),
        failed: 0,
    };
    let withheld = Box::pin(fleet.migrate()).await;
    let reports = fleet.reports.into_iter().zip(targets);
    reports
        .map(|(report, target)| {
            report.unwrap_or_else(|| not_started(&target.login.database, withheld, &task.events))
        })
        .collect()
}

/// Returns what of its set is due in each tenant's database, in their order, `jobs` at a time. Writes nothing.
pub async fn plan_all(
    server: &Server,
    targets: &[Target],
    options: &RunOptions,
) -> Vec<Result<TenantPlan, Error>> {
    let looked = look_all(server, targets, options).await;
    looked.into_iter().map(|looked| looked.map(|(compared, _)| compared.plan)).collect()
}

struct Fleet<'a> {
    task: Arc<Task>,
    targets: &'a [Target],
    /// Connections that the check opened, kept if there are no more than `jobs`.
    kept: HashMap<usize, Session>,
    reports: Vec<Option<TenantReport>>,
    failed: usize,
}

impl Fleet<'_> {
    /// Migrates wave by wave. Returns why the tenants without a report have none.
    async fn migrate(&mut self) -> SkipReason {
        let task = Arc::clone(&self.task);
        if task.options.check == Check::AllFirst && !self.check_all().await {
            return SkipReason::Check;
        }
        let everybody = Wave { name: String::new(), places: (0..self.targets.len()).collect() };
        let waves = &task.options.waves;
        for wave in if waves.is_empty() { std::slice::from_ref(&everybody) } else { waves.as_slice() } {
            if self.failed > task.options.error_budget {
                return SkipReason::ErrorBudget;
            }
            let (start, name) = (Instant::now(), format!("wave {}", wave.name));
            let emit = |event| {
                if !waves.is_empty() {
                    task.events.emit(event)
                }
            };
            emit(Event::PhaseStarted { name: name.clone() });
            if let Some(withheld) = self.migrate_wave(&wave.places).await {
                return withheld;
            }
            emit(Event::PhaseFinished { name, elapsed: start.elapsed() });
        }
        SkipReason::NoWave
    }

    async fn migrate_wave(&mut self, places: &[usize]) -> Option<SkipReason> {
        let task = Arc::clone(&self.task);
        let mut waiting = places.iter().copied().filter(|&place| place < self.targets.len()).peekable();
        let mut running = JoinSet::new();
        let mut at_work: HashMap<Id, usize> = HashMap::new();
        let mut withheld = None;
        loop {
            if task.options.stop.is_raised() {
                withheld = Some(SkipReason::Interrupted);
            } else if task.options.on_error == OnError::Stop && self.failed > task.options.error_budget {
                withheld = Some(SkipReason::ErrorBudget);
            }
            // No more tasks exist than may run: thousands of tenants cost the memory of a few.
            while running.len() < task.aside.places(task.options.jobs.max(1)) && withheld.is_none() {
                let Some(place) = waiting.next() else { break };
                if self.reports[place].is_some() {
                    continue;
                }
                let (target, kept) = (self.targets[place].clone(), self.kept.remove(&place));
                let handle = running.spawn(task::migrate(Arc::clone(&task), target, kept));
                at_work.insert(handle.id(), place);
            }
            let joined = tokio::select! {
                joined = running.join_next_with_id() => joined,
                () = task.aside.more(), if waiting.peek().is_some() && withheld.is_none() => continue,
            };
            let Some(joined) = joined else { break };
            let (id, report) = match joined {
                Ok((id, report)) => (id, Ok(report)),
                Err(error) => (error.id(), Err(error)),
            };
            let Some(place) = at_work.remove(&id) else { continue };
            let report = report
                .unwrap_or_else(|error| broken_off(&self.targets[place].login.database, error, &task.events));
            self.failed += usize::from(matches!(report.outcome, Outcome::Failed { .. }));
            self.reports[place] = Some(report);
        }
        // If no tenant was waiting any more, the stop held nobody back.
        withheld.filter(|withheld| *withheld == SkipReason::Interrupted || waiting.peek().is_some())
    }

    /// Checks all tenants. Returns whether all could be migrated.
    async fn check_all(&mut self) -> bool {
        let task = Arc::clone(&self.task);
        let looked = look_all(&task.server, self.targets, &task.options).await;
        let mut pass = true;
        for (place, looked) in looked.into_iter().enumerate() {
            let error = match looked.and_then(|(compared, kept)| compared.accept().map(|_| kept)) {
                Ok(kept) => {
                    self.kept.extend(kept.map(|session| (place, session)));
                    continue;
                }
                Err(error) => error,
            };
            pass = false;
            let tenant = self.targets[place].login.database.clone();
            task.events.emit(Event::StepFailed { subject: subject(&tenant), error: error.chain() });
            let outcome = Outcome::Failed { applied: Vec::new(), migration: None, error };
            self.reports[place] = Some(TenantReport { tenant, outcome, elapsed: Duration::ZERO });
        }
        pass
    }
}

/// What a tenant needs, and the connection over which it was seen.
type Looked = (Compared, Option<Session>);

/// Reads each tenant's history, without the lock. Keeps the connections if there are no more than `jobs`.
async fn look_all(server: &Server, targets: &[Target], options: &RunOptions) -> Vec<Result<Looked, Error>> {
    let keep = targets.len() <= options.jobs;
    let mut looked: Vec<Option<Result<Looked, Error>>> = targets.iter().map(|_| None).collect();
    let mut running = JoinSet::new();
    let mut at_work: HashMap<Id, usize> = HashMap::new();
    let mut waiting = targets.iter().enumerate();
    loop {
        while running.len() < options.jobs.max(1) && !options.stop.is_raised() {
            let Some((place, target)) = waiting.next() else { break };
            let (server, target) = (server.clone(), target.clone());
            let (connect_options, late, check) = (options.connect.clone(), options.late, options.check);
            let handle = running.spawn(async move {
                target.check_login()?;
                let Target { login, set, .. } = target;
                let session = connect(&server, &login, &connect_options).await?;
                let history = match check {
                    Check::AllFirst => lock_and_read::inspect(&session, &login.database, &set.table).await,
                    // A plan needs no right to write.
                    Check::EachInTurn => lock_and_read::look(&session, &login.database, &set.table).await,
                };
                let kept = if keep && history.is_ok() {
                    Some(session)
                } else {
                    session.close().await;
                    None
                };
                Ok((plan::compare(&login.database, &history?, &set.migrations, late), kept))
            });
            at_work.insert(handle.id(), place);
        }
        let Some(joined) = running.join_next_with_id().await else { break };
        let (id, result) = match joined {
            Ok((id, result)) => (id, Ok(result)),
            Err(error) => (error.id(), Err(error)),
        };
        let Some(place) = at_work.remove(&id) else { continue };
        looked[place] =
            Some(result.unwrap_or_else(|error| Err(panicked(&targets[place].login.database, error))));
    }
    let never = |login: &Login| Error::Interrupted {
        tenant: login.database.clone(),
        state: "it was not looked at".to_owned(),
    };
    let looked = looked.into_iter().zip(targets);
    looked.map(|(one, target)| one.unwrap_or_else(|| Err(never(&target.login)))).collect()
}

fn not_started(tenant: &str, reason: SkipReason, events: &Events) -> TenantReport {
    events.emit(Event::StepFinished {
        subject: subject(tenant),
        outcome: format!("not started: {reason}"),
        elapsed: Duration::ZERO,
    });
    TenantReport {
        tenant: tenant.to_owned(),
        outcome: Outcome::NotStarted { reason },
        elapsed: Duration::ZERO,
    }
}

pub(super) fn broken_off(tenant: &str, error: JoinError, events: &Events) -> TenantReport {
    let error = panicked(tenant, error);
    events.emit(Event::StepFailed { subject: subject(tenant), error: error.chain() });
    let outcome = Outcome::Failed { applied: Vec::new(), migration: None, error };
    TenantReport { tenant: tenant.to_owned(), outcome, elapsed: Duration::ZERO }
}

fn panicked(tenant: &str, error: JoinError) -> Error {
    let reason = match error.try_into_panic() {
        Ok(panic) => panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("panic")
            .to_owned(),
        Err(error) => error.to_string(),
    };
    Error::Panicked { tenant: tenant.to_owned(), reason }
}
