//! What a step works with: the connection, the stack, the options and its place in the plan.

use std::sync::Arc;
use std::time::Duration;

use stack::plan::{Retention, SecretRetention, Snapshot, Unknown};
use stack::{Event, Events, Inventory, Resource, Stack};

use super::state::{Change, State};
use super::step_handle::StepHandle;
use crate::{Cloud, Error, Stop};

/// Options of `apply` and `teardown`.
#[derive(Clone, Debug)]
pub struct ApplyOptions {
    /// Turns the database's deletion protection off where the plan deletes the database.
    pub unprotect: bool,
    /// What happens to the data that the plan deletes.
    pub retention: Retention,
    /// How long a deletion waits for what still uses the resource, such as network interfaces of RDS.
    pub settle_within: Duration,
    /// The bastion's user data, a script. `None`: the default one, which installs psql, jq and a message of the day.
    pub user_data: Option<String>,
    /// Makes a bastion that is launched terminate itself.
    pub ephemeral: Option<Ephemeral>,
}

/// When a bastion terminates itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ephemeral {
    /// How long after its launch, even if it is in use.
    pub ttl: Duration,
    /// The same as a time for the tag: RFC 3339, UTC.
    pub expires_at: String,
}

impl Default for ApplyOptions {
    fn default() -> ApplyOptions {
        ApplyOptions {
            unprotect: false,
            retention: Retention { snapshot: Snapshot::Dated, secrets: SecretRetention::Delete },
            settle_within: Duration::from_secs(300),
            user_data: None,
            ephemeral: None,
        }
    }
}

/// What every step works with.
pub(crate) struct Job<'a> {
    pub(crate) cloud: &'a Cloud,
    pub(crate) stack: &'a Stack,
    pub(crate) options: &'a ApplyOptions,
    pub(crate) events: &'a Events,
    pub(crate) stop: &'a Stop,
    /// What the stack file does not state and the plan removes.
    pub(crate) closes: &'a [Unknown],
    /// The name that events and errors show: `bastion`.
    pub(crate) subject: String,
    /// Connects the step to its plan; `None` for a call outside a plan.
    pub(crate) handle: Option<StepHandle>,
}

impl Job<'_> {
    /// Waits for everything that the step still needs, and returns what exists then.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if a step that it needs will not be done.
    pub(crate) async fn rest_of_needs(&self, state: &State) -> Result<Arc<State>, Error> {
        match &self.handle {
            Some(handle) => handle.needs_met(self.stop).await,
            None => Ok(Arc::new(state.clone())),
        }
    }

    /// Lets the dependents of a deletion begin: AWS has accepted it, and only the proof is missing.
    pub(crate) fn release_dependents(&self) {
        if let Some(handle) = &self.handle {
            handle.tell_ahead(None);
        }
    }

    /// Lets the dependents begin with what this step has made so far.
    pub(crate) fn publish(&self, change: Change) {
        if let Some(handle) = &self.handle {
            handle.tell_ahead(Some(change));
        }
    }

    /// Reports what the step waits for.
    pub(crate) fn waiting(&self, status: &str) {
        self.events.emit(Event::StepWaiting { subject: self.subject.clone(), status: status.to_owned() });
    }
}

/// Returns the id of the stack's VPC.
///
/// # Errors
/// [`Error::Missing`] if it does not exist.
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

/// Returns the error of a step that needs a resource that does not exist.
pub(crate) fn missing(resource: Resource) -> Error {
    Error::Missing { what: resource.title().to_owned() }
}
