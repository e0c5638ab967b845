//! Carries out a plan: a step starts as soon as the steps that it needs are done.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use stack::plan::{Action, Milestone, Plan, Schedule, Step, at_its_port};
use stack::receipt::Evidence;
use stack::{Event, Events, Inventory, Resource, Stack};
use tokio::sync::{mpsc, watch};

use crate::core::job::{ApplyOptions, Job};
use crate::core::state::{Change, State, sort};
use crate::core::step_handle::{Ahead, Progress, StepHandle};
use crate::error::chain;
use crate::{Cloud, Error, Stop, step};

/// A plan that was carried out only in part.
#[derive(Debug)]
pub struct ApplyError {
    /// What the first failed step worked on; if the user interrupted, the first step that was not done.
    pub resource: Resource,
    /// What that step did.
    pub action: Action,
    /// Why that step failed; [`Error::Interrupted`] if the user interrupted.
    pub source: Box<Error>,
    /// Steps that were running when the first one failed, and failed as well.
    pub also: Vec<(Step, Error)>,
    /// The steps that are done.
    pub done: Vec<Step>,
    /// The steps that were not started, or waited for one that failed.
    pub not_started: Vec<Step>,
    /// What exists now as far as the done steps know; [`observe`](crate::observe()) shows it exactly.
    pub inventory: Box<Inventory>,
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if matches!(*self.source, Error::Interrupted) {
            return write!(f, "stopped before `{} {}` was done", self.action.verb(), self.resource);
        }
        match (&self.action, self.resource) {
            (Action::Wait, Resource::Session) => write!(f, "cannot open a {}", self.resource),
            (Action::Wait, _) => write!(f, "cannot wait for {}", self.resource),
            (Action::Delete { id }, _) => write!(f, "cannot delete {} `{id}`", self.resource),
            (Action::Restore { id }, _) => write!(f, "cannot restore {} `{id}`", self.resource),
            (Action::Create | Action::Repair | Action::Start, _) => {
                write!(f, "cannot {} {}", self.action.verb(), self.resource)
            }
        }
    }
}

impl std::error::Error for ApplyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}

/// The reason that is given for a step that was not done because another one failed.
pub(crate) const HELD_UP: &str = "waits for what failed";

type Running<'a> = Pin<Box<dyn Future<Output = (usize, Duration, Result<Change, Error>)> + Send + 'a>>;

/// Carries out the plan, and returns what exists then.
///
/// A step starts as soon as the steps that it needs are done; independent steps run at the same time. After the first
/// error, or once `stop` is raised, no other step starts, and running steps end. Whatever happens, a new plan made from
/// a new look repairs it.
///
/// # Errors
/// [`ApplyError`] says which step failed, which are done and which are not.
pub async fn apply(
    cloud: &Cloud,
    stack: &Stack,
    plan: &Plan,
    inventory: Inventory,
    options: &ApplyOptions,
    events: &Events,
    stop: &Stop,
) -> Result<Inventory, ApplyError> {
    let ended = follow(cloud, stack, plan, inventory, options, events, stop).await;
    let Ended { done, failed, waiting, state } = ended;
    let mut failed = failed.into_iter();
    let (index, source) = match (failed.next(), waiting.first()) {
        (Some(first), _) => first,
        (None, Some(index)) => (*index, Error::Interrupted),
        (None, None) => return Ok(state.inventory),
    };
    let step = |index: &usize| plan.steps[*index].clone();
    Err(ApplyError {
        resource: plan.steps[index].resource,
        action: plan.steps[index].action.clone(),
        source: Box::new(source),
        also: failed.map(|(index, error)| (step(&index), error)).collect(),
        done: done.iter().map(step).collect(),
        not_started: waiting.iter().map(step).collect(),
        inventory: Box::new(state.inventory),
    })
}

/// How following a plan ended.
pub(crate) struct Ended {
    pub(crate) done: Vec<usize>,
    /// Interrupted steps last: they are a consequence, and people must see the real failure first.
    pub(crate) failed: Vec<(usize, Error)>,
    pub(crate) waiting: Vec<usize>,
    pub(crate) state: State,
}

/// Carries out a plan as far as possible. The [`Schedule`] says which steps to start, and this function runs them.
pub(crate) async fn follow(
    cloud: &Cloud,
    stack: &Stack,
    plan: &Plan,
    inventory: Inventory,
    options: &ApplyOptions,
    events: &Events,
    stop: &Stop,
) -> Ended {
    // Rules and secrets follow a database that is there.
    let stack = &*at_its_port(stack, &inventory);
    // Only this loop changes the state. A step reads the state at its start, or waits for a later one.
    let mut state = Arc::new(State { inventory, master_password: None, evidence: Evidence::default() });
    let mut schedule = Schedule::new(plan);
    let mut failed: Vec<(usize, Error)> = Vec::new();
    let mut running: FuturesUnordered<Running<'_>> = FuturesUnordered::new();
    let (tell_ahead, mut told_ahead) = mpsc::unbounded_channel();
    let (progress, follower) =
        watch::channel(Progress { schedule: schedule.clone(), state: Arc::clone(&state) });
    loop {
        if stop.is_raised() {
            schedule.stop();
        }
        for index in schedule.start() {
            let handle = Some(StepHandle { index, progress: follower.clone(), ahead: tell_ahead.clone() });
            let (subject, closes) = (subject(plan, index), &plan.closes);
            let job = Job { cloud, stack, options, events, stop, closes, subject, handle };
            running.push(Box::pin(run(job, &plan.steps[index], index, Arc::clone(&state))));
        }
        progress.send_replace(Progress { schedule: schedule.clone(), state: Arc::clone(&state) });
        let ended = tokio::select! {
            biased;
            Some(Ahead { index, change }) = told_ahead.recv() => {
                let made = change.is_some();
                let milestone = if made { Milestone::Made } else { Milestone::DeletionAccepted };
                if schedule.reached(index, milestone) && let Some(change) = change {
                    Arc::make_mut(&mut state).merge(change);
                }
                continue;
            }
            ended = running.next() => ended,
        };
        let Some((index, elapsed, result)) = ended else {
            break;
        };
        let subject = subject(plan, index);
        match result {
            Ok(change) => {
                Arc::make_mut(&mut state).merge(change);
                schedule.done(index);
                let outcome = outcome(&plan.steps[index].action).to_owned();
                events.emit(Event::StepFinished { subject, outcome, elapsed });
            }
            // It waited for a step that has failed.
            Err(Error::Interrupted) if schedule.has_failed() && !stop.is_raised() => {
                schedule.blocked(index);
                events.emit(Event::StepFinished { subject, outcome: HELD_UP.to_owned(), elapsed });
            }
            Err(error) => {
                schedule.failed(index);
                events.emit(Event::StepFailed { subject, error: chain(&error) });
                failed.push((index, error));
            }
        }
    }
    drop(running);

    let mut state = Arc::unwrap_or_clone(state);
    sort(&mut state.inventory);
    failed.sort_by_key(|(_, error)| matches!(error, Error::Interrupted));
    Ended { done: schedule.all_done(), failed, waiting: schedule.not_started(), state }
}

async fn run(
    job: Job<'_>,
    step: &Step,
    index: usize,
    state: Arc<State>,
) -> (usize, Duration, Result<Change, Error>) {
    let began = Instant::now();
    let verb = step.action.verb().to_owned();
    job.events.emit(Event::StepStarted { subject: job.subject.clone(), verb });
    let result = step::carry_out(&job, step, &state).await;
    (index, began.elapsed(), result)
}

/// Returns the step's name for people: its title, with the id if the plan has several steps for that resource.
fn subject(plan: &Plan, index: usize) -> String {
    let step = &plan.steps[index];
    let is_alone = plan.steps.iter().filter(|other| other.resource == step.resource).count() == 1;
    match &step.action {
        Action::Delete { id } | Action::Restore { id } if !is_alone => format!("{} {id}", step.subject()),
        Action::Create
        | Action::Repair
        | Action::Start
        | Action::Wait
        | Action::Restore { .. }
        | Action::Delete { .. } => step.resource.title().to_owned(),
    }
}

fn outcome(action: &Action) -> &'static str {
    match action {
        Action::Create => "created",
        Action::Repair => "repaired",
        Action::Start => "started",
        Action::Wait => "ready",
        Action::Restore { .. } => "restored",
        Action::Delete { .. } => "deleted",
    }
}
