//! Creates tenants: several at a time, each with its role and its database.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures_util::future::join_all;
use serde::Serialize;
use stack::{Event, Events};

use super::ensure::{Work, ensure};
use super::{TenantSpec, check, subject};
use crate::lock::{LOCK_LIMIT, Lock};
use crate::migrate::{Stop, find_jobs};
use crate::{ConnectOptions, Error, Login, Server, Session, connect, lock, maintenance};

/// What became of a tenant.
#[derive(Debug, Serialize)]
pub struct Created {
    /// The tenant.
    pub tenant: String,
    /// What was done.
    pub outcome: Outcome,
    /// What is not as it should be and was left alone: another owner, another encoding.
    pub findings: Vec<String>,
}

/// What was done for a tenant.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", content = "what", rename_all = "kebab-case")]
pub enum Outcome {
    /// Its database is new.
    Created,
    /// Everything was there; nothing was written.
    Unchanged,
    /// Its database was there; these were put right.
    Repaired(Vec<String>),
    /// It failed; the other tenants went on.
    Failed(Error),
    /// Its turn did not come before the run was interrupted; nothing was written.
    NotStarted,
}

/// Creates every tenant's role and database, or puts right what is there already, as [`create_until`] does.
///
/// # Errors
/// Those of [`create_until`].
pub async fn create(
    server: &Server,
    admin: &Login,
    tenants: &[TenantSpec],
    events: &Events,
) -> Result<Vec<Created>, Error> {
    create_until(server, admin, tenants, &Stop::new(), events).await
}

/// Creates every tenant's role and database, or puts right what is there already, up to 16 at a time, until `stop` is
/// raised.
///
/// `admin` is the master: not a superuser, but with CREATEDB and CREATEROLE. Tenants that share a role come one after the
/// other, in this run and in others. Returns one report for each tenant, in their order; a failed one does not stop the
/// others.
///
/// # Errors
/// What concerns all tenants: a wrong set of them, no connection, the lock.
pub async fn create_until(
    server: &Server,
    admin: &Login,
    tenants: &[TenantSpec],
    stop: &Stop,
    events: &Events,
) -> Result<Vec<Created>, Error> {
    check(tenants, admin)?;
    if tenants.is_empty() {
        return Ok(Vec::new());
    }
    // Advisory locks belong to a database: all must take theirs in the same one.
    let admin = Login { database: "postgres".to_owned(), ..admin.clone() };
    let crew =
        Crew { server, admin: &admin, tenants, stop, events, queue: Mutex::new(by_owner(tenants).into()) };
    let groups = crew.lock().len();
    let jobs = if groups > 1 { find_jobs(server, &admin).await?.min(groups) } else { 1 };
    let first = crew.connect().await?;
    // Before the first lock: whoever holds one without any use for it does not come back.
    maintenance::close(server, &admin, &first, events).await;
    crew.share(&first).await?;
    let mut sessions = vec![Some(first)];
    sessions.resize_with(jobs, || None);
    let done = join_all(sessions.into_iter().map(|session| Box::pin(crew.work(session)))).await;

    let mut created: Vec<Option<Created>> = tenants.iter().map(|_| None).collect();
    for (place, one) in done.into_iter().flatten() {
        created[place] = Some(one);
    }
    let created = created.into_iter().zip(tenants);
    Ok(created.map(|(one, tenant)| one.unwrap_or_else(|| not_started(tenant, events))).collect())
}

/// Returns the places of the tenants, those of one role together: nobody waits for a lock of this run.
fn by_owner(tenants: &[TenantSpec]) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut group_of: HashMap<&str, usize> = HashMap::new();
    for (place, tenant) in tenants.iter().enumerate() {
        let group = *group_of.entry(&tenant.owner).or_insert(groups.len());
        match groups.get_mut(group) {
            Some(group) => group.push(place),
            None => groups.push(vec![place]),
        }
    }
    groups
}

/// What those who create at the same time share.
struct Crew<'a> {
    server: &'a Server,
    admin: &'a Login,
    tenants: &'a [TenantSpec],
    stop: &'a Stop,
    events: &'a Events,
    queue: Mutex<VecDeque<Vec<usize>>>,
}

impl Crew<'_> {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Vec<usize>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects to where all locks are.
    async fn connect(&self) -> Result<Session, Error> {
        connect(self.server, self.admin, &ConnectOptions::default()).await
    }

    /// Takes the lock that all who create share.
    async fn share(&self, session: &Session) -> Result<(), Error> {
        lock::acquire_shared(session, lock::TENANTS, "tenants", LOCK_LIMIT, self.events).await
    }

    async fn enter(&self) -> Result<Session, Error> {
        let session = self.connect().await?;
        self.share(&session).await?;
        Ok(session)
    }

    /// Creates one tenant after the other over one connection, as long as there are any.
    async fn work(&self, mut session: Option<Session>) -> Vec<(usize, Created)> {
        let mut created = Vec::new();
        loop {
            // Taken out first: nothing is held while a group is worked on.
            let Some(group) = self.lock().pop_front() else { break };
            for place in group {
                if self.stop.is_raised() {
                    break;
                }
                created.push((place, self.create_one(&mut session, &self.tenants[place]).await));
            }
        }
        // The locks go with it.
        if let Some(session) = session {
            session.close().await;
        }
        created
    }

    async fn create_one(&self, session: &mut Option<Session>, tenant: &TenantSpec) -> Created {
        let subject = subject(&tenant.name);
        let start = Instant::now();
        self.events.emit(Event::StepStarted { subject: subject.clone(), verb: "create".to_owned() });
        let mut work = Work::default();
        let outcome = match self.create_locked(session, tenant, &mut work).await {
            Err(error) => Outcome::Failed(error),
            Ok(()) if work.is_new => Outcome::Created,
            Ok(()) if work.changes.is_empty() => Outcome::Unchanged,
            Ok(()) => Outcome::Repaired(work.changes),
        };
        self.events.emit(match &outcome {
            Outcome::Failed(error) => Event::StepFailed { subject, error: error.chain() },
            Outcome::Created => finished(subject, "created", start),
            Outcome::Unchanged => finished(subject, "unchanged", start),
            Outcome::Repaired(what) => finished(subject, &format!("repaired: {}", what.join(", ")), start),
            Outcome::NotStarted => finished(subject, NOT_STARTED, start),
        });
        for finding in &work.findings {
            self.events.warn(format!("tenant `{}`: {finding}", tenant.name));
        }
        Created { tenant: tenant.name.clone(), outcome, findings: work.findings }
    }

    async fn create_locked(
        &self,
        kept: &mut Option<Session>,
        tenant: &TenantSpec,
        work: &mut Work,
    ) -> Result<(), Error> {
        // The tenant before this one may have lost the connection.
        let session = match kept.take().filter(|session| !session.client().is_closed()) {
            Some(session) => session,
            None => self.enter().await?,
        };
        let result = create_under_lock(self, &session, tenant, work).await;
        *kept = Some(session);
        result
    }
}

async fn create_under_lock(
    crew: &Crew<'_>,
    session: &Session,
    tenant: &TenantSpec,
    work: &mut Work,
) -> Result<(), Error> {
    let (role, database) = (Lock::role(&tenant.owner), Lock::database(&tenant.name));
    let subject = subject(&tenant.name);
    lock::acquire(session, role, &subject, LOCK_LIMIT, crew.events).await?;
    let mut done = lock::acquire(session, database, &subject, LOCK_LIMIT, crew.events).await;
    if done.is_ok() {
        done = ensure(crew.server, crew.events, session, tenant, work).await;
        // Why the work failed matters more than that a lock was lost.
        done = done.and(lock::release(session, database).await);
    }
    done.and(lock::release(session, role).await)
}

const NOT_STARTED: &str = "not started: the run was interrupted";

fn not_started(tenant: &TenantSpec, events: &Events) -> Created {
    events.emit(finished(subject(&tenant.name), NOT_STARTED, Instant::now()));
    Created { tenant: tenant.name.clone(), outcome: Outcome::NotStarted, findings: Vec::new() }
}

fn finished(subject: String, outcome: &str, start: Instant) -> Event {
    Event::StepFinished { subject, outcome: outcome.to_owned(), elapsed: start.elapsed() }
}
