//! Carries out a plan that takes a stack down, and collects the proof of each deletion.

use stack::plan::{Action, Plan, SecretRetention, Step};
use stack::receipt::{Evidence, Left};
use stack::{Events, Inventory, Resource, Stack};

use crate::apply::{Ended, HELD_UP, follow};
use crate::core::job::ApplyOptions;
use crate::error::chain;
use crate::kind::{profile, role, secret};
use crate::{Cloud, Error, Stop};

/// The outcome of a teardown.
#[derive(Debug)]
pub struct Teardown {
    /// What was proved; `left` has the failed steps and the steps that were not done because of them.
    pub evidence: Evidence,
    /// The steps that failed.
    pub failed: Vec<(Step, Error)>,
    /// Whether the user asked to stop before the end.
    pub interrupted: bool,
    /// What exists now as far as the done steps know.
    pub inventory: Inventory,
}

/// Takes the stack down as far as possible: a failed step blocks only its dependents.
///
/// An accepted deletion proves nothing: each resource is looked up by its id until it no longer exists.
pub async fn teardown(
    cloud: &Cloud,
    stack: &Stack,
    plan: &Plan,
    mut inventory: Inventory,
    options: &ApplyOptions,
    events: &Events,
    stop: &Stop,
) -> Teardown {
    if !plan.is_empty() {
        Box::pin(claim(cloud, stack, &mut inventory, events)).await;
    }
    let ended = follow(cloud, stack, plan, inventory, options, events, stop).await;
    let Ended { failed, waiting, state, done: _ } = ended;
    let (inventory, mut evidence) = (state.inventory, state.evidence);
    if options.retention.secrets == SecretRetention::Keep {
        let ours = inventory.secrets.iter().filter(|entry| entry.tagged && !entry.scheduled_for_deletion);
        evidence.kept.extend(ours.map(|entry| secret::kept(cloud, stack, entry)));
    }
    let failed: Vec<(Step, Error)> =
        failed.into_iter().map(|(index, error)| (plan.steps[index].clone(), error)).collect();
    evidence.left.extend(failed.iter().filter_map(|(step, error)| of_failure(step, error)));
    let behind = waiting.iter().map(|index| &plan.steps[*index]);
    let held_up = if failed.is_empty() { "interrupted before its turn" } else { HELD_UP };
    evidence.left.extend(behind.filter_map(|step| left(step, held_up.to_owned())));
    let interrupted = stop.is_raised() && !(waiting.is_empty() && failed.is_empty());
    Teardown { evidence, failed, interrupted, inventory }
}

/// Adds the region's tag to roles and profile that lack it, before the resources that use them are deleted: if this run is
/// killed later, the next `down` still knows whose they are.
async fn claim(cloud: &Cloud, stack: &Stack, inventory: &mut Inventory, events: &Events) {
    if let Some(profile) = inventory.profile.as_mut().filter(|profile| !profile.has_region) {
        let tagged = profile::tag(cloud, stack, &profile.name).await;
        profile.has_region = told(events, &profile.name, tagged);
    }
    let of_bastion = inventory.role.as_mut().map(|role| (role, Resource::Role));
    let of_monitoring = inventory.monitoring_role.as_mut().map(|role| (role, Resource::MonitoringRole));
    for (role, resource) in of_bastion.into_iter().chain(of_monitoring) {
        if !role.has_region {
            let tagged = role::tag(cloud, stack, &role.name, resource).await;
            role.has_region = told(events, &role.name, tagged);
        }
    }
}

fn told(events: &Events, name: &str, tagged: Result<(), Error>) -> bool {
    if let Err(error) = &tagged {
        events.warn(format!("`{name}` could not be given its region's tag: {error}"));
    }
    tagged.is_ok()
}

fn of_failure(step: &Step, error: &Error) -> Option<Left> {
    let left = left(step, chain(error))?;
    let Error::Blocked { blockers, .. } = error else { return Some(left) };
    Some(Left { blockers: blockers.clone(), ..left })
}

fn left(step: &Step, why: String) -> Option<Left> {
    let (Action::Delete { id } | Action::Restore { id }) = &step.action else { return None };
    Some(Left { kind: step.subject().to_owned(), id: id.clone(), why, blockers: Vec::new(), command: None })
}
