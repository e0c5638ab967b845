//! What a step is given to work with.

use std::sync::Arc;
use std::time::Duration;

use stack::plan::{Fate, SecretFate, Snapshot, Unknown};
use stack::{Event, Events, Inventory, Resource, Stack};

use super::state::{Change, State};
use super::step_handle::StepHandle;
use crate::{Cloud, Error, Stop};

/// What may be chosen about carrying out a plan.
#[derive(Clone, Debug)]
pub struct ApplyOptions {
    /// Turns the database's deletion protection off where the plan deletes the database.
    pub unprotect: bool,
    /// What becomes of the data where the plan deletes them.
    pub fate: Fate,
    /// How long a removal waits for what still uses the thing, such as RDS's network interfaces.
    pub settle_within: Duration,
    /// The bastion's user data, a script; `None` is the one that installs client, jq and message of the day.
    pub user_data: Option<String>,
    /// If a bastion is launched, its end is fixed from the start.
    pub ephemeral: Option<Ephemeral>,
}

/// The end of a bastion that removes itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ephemeral {
    /// After how long it terminates itself, whoever uses it.
    pub ttl: Duration,
    /// The same as a time, RFC 3339 in UTC, for the tag.
    pub expires_at: String,
}

impl Default for ApplyOptions {
    fn default() -> ApplyOptions {
        ApplyOptions {
            unprotect: false,
            fate: Fate { snapshot: Snapshot::Dated, secrets: SecretFate::Delete },
            settle_within: Duration::from_secs(300),
            user_data: None,
            ephemeral: None,
        }
    }
}

/// What every step is given.
pub(crate) struct Job<'a> {
    pub(crate) cloud: &'a Cloud,
    pub(crate) stack: &'a Stack,
    pub(crate) options: &'a ApplyOptions,
    pub(crate) events: &'a Events,
    pub(crate) stop: &'a Stop,
    /// What the stack file does not state, and the plan takes away.
    pub(crate) closes: &'a [Unknown],
    /// What people read: `bastion`.
    pub(crate) subject: String,
    /// The plan that the step is of; `None` where it stands alone.
    pub(crate) handle: Option<StepHandle>,
}

impl Job<'_> {
    /// Waits for the rest of what the step needs, and returns what exists then.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if that does not come any more.
    pub(crate) async fn rest_of_needs(&self, state: &State) -> Result<Arc<State>, Error> {
        match &self.handle {
            Some(handle) => handle.needs_met(self.stop).await,
            None => Ok(Arc::new(state.clone())),
        }
    }

    /// Lets what waits for this step begin: its deletion was accepted, and only the proof is still to come.
    pub(crate) fn clear_the_way(&self) {
        if let Some(handle) = &self.handle {
            handle.tell_ahead(None);
        }
    }

    /// Lets what waits for this step begin with what it has made so far.
    pub(crate) fn announce(&self, change: Change) {
        if let Some(handle) = &self.handle {
            handle.tell_ahead(Some(change));
        }
    }

    /// Tells what is waited for.
    pub(crate) fn waiting(&self, status: &str) {
        self.events.emit(Event::StepWaiting { subject: self.subject.clone(), status: status.to_owned() });
    }
}

/// Returns the stack's VPC.
pub(crate) fn vpc_of(inventory: &Inventory) -> Result<&str, Error> {
    inventory.vpc().map(|vpc| vpc.id.as_str()).ok_or_else(|| missing(Resource::Vpc))
}

/// Returns the id of one of the stack's subnets.
pub(crate) fn subnet_of(inventory: &Inventory, resource: Resource) -> Result<&str, Error> {
    inventory.subnet(resource.tag()).map(|subnet| subnet.id.as_str()).ok_or_else(|| missing(resource))
}

/// Returns the id of one of the stack's security groups.
pub(crate) fn group_of(inventory: &Inventory, resource: Resource) -> Result<&str, Error> {
    inventory.group(resource.tag()).map(|group| group.id.as_str()).ok_or_else(|| missing(resource))
}

pub(crate) fn missing(resource: Resource) -> Error {
    Error::Missing { what: resource.title().to_owned() }
}
