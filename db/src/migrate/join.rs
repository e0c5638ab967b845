//! One run by many runners, on any machines: each takes tenants from a table in the admin's database.
//!
//! The table is a queue with leases. A runner that dies takes no tenant with it: its leases end, and others take what it
//! had. That it may still be at work is no danger, only a wait: each tenant has its own lock and its own history.

mod lease_store;
mod name;
mod orphaned_session;
mod report;
mod run_spec;
mod sql;
mod stored;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use stack::{Event, Events};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::MissedTickBehavior;

use self::lease_store::{Counts, LeaseStore, Taken};
pub use self::name::RunName;
pub use self::report::Joined;
use self::stored::Entry;
use super::aside::Aside;
use super::options::RunOptions;
use super::outcome::TenantReport;
use super::run;
use super::target::Target;
use super::task::{self, Task};
use crate::lock::{FIRST_PAUSE, LONGEST_PAUSE};
use crate::{Error, Login, Server};

/// How to take part in a run.
#[derive(Clone, Debug)]
pub struct JoinOptions {
    /// How to migrate. Waves, error budget and what becomes of errors are those of the run's first runner.
    pub run: RunOptions,
    /// How long a tenant stays with a runner that is not heard of.
    pub lease: Duration,
    /// What this runner is called; something is added that no other runner has.
    pub runner: String,
    /// How often a tenant is taken in all, by whichever runner: each time but the last, the runner that had it gave it back
    /// or was not heard of again. Then it has failed.
    pub tries: u32,
}

impl Default for JoinOptions {
    fn default() -> JoinOptions {
        JoinOptions {
            run: RunOptions::default(),
            lease: Duration::from_secs(60),
            runner: "runner".to_owned(),
            tries: 5,
        }
    }
}

/// Takes part in a run, which the first runner of that name begins, until all of it is over; returns the whole run's
/// report, which is the same for all runners. Joining a run that is over returns its report.
///
/// `admin` is the master's login to the database that holds the run; nothing of it is worth a backup. Dropping the future
/// is as good as killing the runner: others go on when its leases are over.
///
/// # Errors
/// [`Error::Run`] if the run was begun with other migrations, options or tenants; whatever keeps the admin's database
/// from answering for about a minute. What was in flight has come to its end then.
pub async fn join(
    server: &Server,
    admin: &Login,
    run: &RunName,
    targets: &[Target],
    options: &JoinOptions,
    events: &Events,
) -> Result<Joined, Error> {
    let runner = format!("{}-{:08x}", options.runner, rand::random::<u32>());
    let mut store = LeaseStore::new(server, admin, run, &runner, (options.lease, options.tries), events);
    store.register(targets, &options.run).await?;
    events.note(format!("run `{run}`: this is runner `{runner}`"));
    let mut run_options = options.run.clone();
    run_options.connect.application_name = orphaned_session::application_name(run);
    let mut worker = Worker {
        task: Arc::new(Task {
            server: server.clone(),
            options: run_options,
            events: events.clone(),
            aside: Aside::default(),
        }),
        targets: targets.iter().map(|target| (target.login.database.as_str(), target)).collect(),
        options,
        events,
        running: JoinSet::new(),
        in_flight: HashMap::new(),
        wave: None,
        told: None,
    };
    let worked = Box::pin(worker.work(&mut store)).await;
    if worked.is_err() {
        // Nobody can be told what becomes of them, but hanging up would leave open how they end.
        while worker.running.join_next().await.is_some() {}
    }
    let joined = match worked {
        Ok(()) => store.report(&runner).await,
        Err(error) => Err(error),
    };
    store.close().await;
    joined
}

/// A tenant that is being migrated here.
struct InFlight {
    taken: Taken,
    /// Whether its lease is known to be somebody else's.
    is_lost: bool,
}

struct Worker<'a> {
    task: Arc<Task>,
    targets: HashMap<&'a str, &'a Target>,
    options: &'a JoinOptions,
    events: &'a Events,
    running: JoinSet<TenantReport>,
    in_flight: HashMap<Id, InFlight>,
    wave: Option<i32>,
    told: Option<Counts>,
}

type Ended = Result<(Id, TenantReport), JoinError>;

impl Worker<'_> {
    /// Takes and migrates tenants until the run is over, or until a wish to stop is fulfilled.
    async fn work(&mut self, store: &mut LeaseStore<'_>) -> Result<(), Error> {
        let stop = &self.options.run.stop;
        let jobs = self.options.run.jobs.max(1);
        let mut renewal = tokio::time::interval(self.options.lease / 3);
        renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pause = FIRST_PAUSE;
        loop {
            let stopping = stop.is_raised();
            if stopping && self.running.is_empty() {
                return Ok(());
            }
            let places = self.task.aside.places(jobs);
            let room = if stopping { 0 } else { places.saturating_sub(self.running.len()) };
            if room > 0 {
                let taken = store.take(room, &self.names()).await?;
                if taken.is_empty() && self.running.is_empty() {
                    store.give_up().await?;
                    store.hold().await?;
                    let counts = store.count().await?;
                    if counts.is_over() {
                        return Ok(());
                    }
                    self.tell(store, counts);
                } else if !taken.is_empty() {
                    pause = FIRST_PAUSE;
                }
                for one in taken {
                    self.begin(one);
                }
            }
            tokio::select! {
                Some(ended) = self.running.join_next_with_id() => {
                    self.settle(store, ended).await?;
                    pause = FIRST_PAUSE;
                }
                _ = renewal.tick(), if !self.running.is_empty() => self.renew(store).await?,
                () = stop.raised(), if !stopping => {}
                () = self.task.aside.more(), if !stopping => {}
                // Others give tenants back, die, or end a wave.
                () = tokio::time::sleep(pause), if room > 0 => pause = (pause * 2).min(LONGEST_PAUSE),
            }
        }
    }

    fn names(&self) -> Vec<String> {
        self.in_flight.values().map(|one| one.taken.tenant.clone()).collect()
    }

    fn begin(&mut self, taken: Taken) {
        // The store gives out nothing that this runner does not know.
        let Some(&target) = self.targets.get(taken.tenant.as_str()) else { return };
        if self.wave != Some(taken.wave) {
            self.wave = Some(taken.wave);
            let wave = usize::try_from(taken.wave).ok().and_then(|at| self.options.run.waves.get(at));
            if let Some(wave) = wave {
                self.events.emit(Event::PhaseStarted { name: format!("wave {}", wave.name) });
            }
        }
        let (task, target, is_first) = (Arc::clone(&self.task), target.clone(), taken.attempts == 1);
        let handle = self.running.spawn(async move {
            let may_have_orphan = !is_first && target.no_login.is_none();
            let kept = if may_have_orphan {
                orphaned_session::end_orphans(&task, &target.login).await
            } else {
                None
            };
            task::migrate(task, target, kept).await
        });
        self.in_flight.insert(handle.id(), InFlight { taken, is_lost: false });
    }

    /// Records what has ended; what was interrupted is given back.
    async fn settle(&mut self, store: &mut LeaseStore<'_>, first: Ended) -> Result<(), Error> {
        let mut ended = vec![first];
        while let Some(more) = self.running.try_join_next_with_id() {
            ended.push(more);
        }
        let mut entries = Vec::new();
        for one in ended {
            let (id, report) = match one {
                Ok((id, report)) => (id, Ok(report)),
                Err(error) => (error.id(), Err(error)),
            };
            let Some(InFlight { taken, is_lost }) = self.in_flight.remove(&id) else { continue };
            let report = report.unwrap_or_else(|error| run::broken_off(&taken.tenant, error, self.events));
            entries.push((Entry::new(&report, taken.attempts), is_lost));
        }
        let recorded = store.record(entries.iter().map(|(entry, _)| entry)).await?;
        for (entry, is_lost) in &entries {
            if !is_lost && !recorded.contains(&entry.tenant) {
                self.warn_of_loss(&entry.tenant);
            }
        }
        Ok(())
    }

    async fn renew(&mut self, store: &mut LeaseStore<'_>) -> Result<(), Error> {
        let kept = store.renew(&self.names()).await?;
        for one in self.in_flight.values_mut() {
            if !one.is_lost && !kept.contains(&one.taken.tenant) {
                one.is_lost = true;
                lost(self.events, &one.taken.tenant);
            }
        }
        Ok(())
    }

    fn warn_of_loss(&self, tenant: &str) {
        lost(self.events, tenant);
    }

    fn tell(&mut self, store: &LeaseStore<'_>, counts: Counts) {
        if self.told != Some(counts) {
            self.told = Some(counts);
            self.events.emit(Event::StepWaiting { subject: store.subject(), status: counts.to_string() });
        }
    }
}

fn lost(events: &Events, tenant: &str) {
    events.warn(format!(
        "the lease of tenant `{tenant}` ran out and another runner has taken it; what is in flight here comes to its \
         end, and the other one sees what it did"
    ));
}
