//! What would be done, for people to read and for `aws::apply` to carry out.

mod access;
mod agreement;
mod down;
mod drift;
mod duration;
mod network;
mod port;
mod retention;
mod rules;
mod schedule;
mod scope;
mod server;
mod unknown;
mod up;
mod verdict;
mod watch;

use std::time::Duration;

use serde::Serialize;

pub use self::access::{obsolete, unknown};
pub use self::down::{down, down_with};
pub use self::drift::{Drift, advice, drift};
pub use self::port::at_its_port;
pub use self::retention::{Retention, SecretRetention, Snapshot};
pub use self::rules::{bastion_rules, database_rules, leftover_defaults};
pub use self::schedule::{Milestone, Needs, Schedule};
pub use self::server::is_settled as serves;
pub use self::unknown::{Stranger, Unknown};
pub use self::up::{start, up, up_with};
pub use self::watch::flaw as alarm_flaw;
use crate::resource::{CREATE_ORDER, Resource};

/// Steps in an order that can be carried out one by one; [`Plan::needs`] tells which may run at the same time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// Building up or taking down.
    pub direction: Direction,
    /// What is to be done; empty if all is as it should be.
    pub steps: Vec<Step>,
    /// How many resources are as they should be.
    pub unchanged: usize,
    /// Rules and groups that the stack file does not state, and that its steps take away.
    pub closes: Vec<Unknown>,
    /// Rules and groups that the stack file does not state, and that stay.
    pub left_alone: Vec<Unknown>,
}

/// Building up or taking down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// A need comes before its user.
    Up,
    /// A user goes before its need.
    Down,
}

/// One thing to do to one resource.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// What it is done to.
    pub resource: Resource,
    /// What is done.
    pub action: Action,
    /// For people: the range, the class, what is wrong and will be mended.
    pub detail: String,
    /// How long AWS usually takes.
    #[serde(rename = "typical_seconds", serialize_with = "seconds")]
    pub typical: Duration,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum Action {
    /// It is not there: make it, whole.
    Create,
    /// It is there but half-made or different: converge it.
    Repair,
    /// It is there but stopped.
    Start,
    /// It is on its way: wait for it.
    Wait,
    /// It is scheduled for deletion and is to stay: take it back.
    Restore {
        /// The name.
        id: String,
    },
    /// Remove the one with this id (or name, where the name is the id).
    ///
    /// In a plan for `up` this removes a second VPC, gateway or route table that a lost reply left behind.
    Delete {
        /// The id.
        id: String,
    },
}

impl Step {
    /// Returns what people read: the resource's title. The secrets that `down` removes are not all the master's.
    pub fn subject(&self) -> &'static str {
        match self.action {
            Action::Delete { .. } | Action::Restore { .. } if self.resource == Resource::MasterSecret => {
                "secret"
            }
            Action::Delete { .. } if self.resource == Resource::Alarms => "alarm",
            Action::Create
            | Action::Repair
            | Action::Start
            | Action::Wait
            | Action::Restore { .. }
            | Action::Delete { .. } => self.resource.title(),
        }
    }
}

impl Action {
    /// Returns the verb that people read.
    pub fn verb(&self) -> &'static str {
        match self {
            Action::Create => "create",
            Action::Repair => "repair",
            Action::Start => "start",
            Action::Wait => "wait",
            Action::Restore { .. } => "restore",
            Action::Delete { .. } => "delete",
        }
    }
}

impl Plan {
    pub(crate) fn new(direction: Direction) -> Plan {
        Plan { direction, steps: Vec::new(), unchanged: 0, closes: Vec::new(), left_alone: Vec::new() }
    }

    /// Tells whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Returns the indices of the steps that must end before step `index` can end.
    ///
    /// A need that has no step of its own passes on its own needs. On the way up a removal waits for nothing but what
    /// still uses the thing, and what is made anew waits until what it replaces is gone.
    pub fn needs(&self, index: usize) -> Vec<usize> {
        let step = &self.steps[index];
        let deletes = matches!(step.action, Action::Delete { .. });
        if self.direction == Direction::Up && deletes {
            return self.users_of(step.resource);
        }
        self.steps_for(step.resource, self.neighbours(step.resource))
    }

    /// Returns the indices of the steps that must end before step `index` may begin: some of its [needs](Plan::needs) on the
    /// way up, all of them on the way down.
    pub fn begins_after(&self, index: usize) -> Vec<usize> {
        let step = &self.steps[index];
        match self.direction {
            Direction::Up if !matches!(step.action, Action::Delete { .. }) => {
                self.steps_for(step.resource, step.resource.begins_after().to_vec())
            }
            Direction::Up | Direction::Down => self.needs(index),
        }
    }

    /// Returns the steps that bring what is needed, and on the way up those that remove what is made anew.
    fn steps_for(&self, resource: Resource, mut open: Vec<Resource>) -> Vec<usize> {
        let mut seen: Vec<Resource> = Vec::new();
        let mut needs = match self.direction {
            Direction::Up => self.removals_of(resource),
            Direction::Down => Vec::new(),
        };
        while let Some(resource) = open.pop() {
            if seen.contains(&resource) {
                continue;
            }
            seen.push(resource);
            let own = self.steps_of(resource);
            if own.is_empty() {
                open.extend(self.neighbours(resource));
            }
            needs.extend(own);
        }
        needs.sort_unstable();
        needs
    }

    /// Returns how long the longest chain of steps that wait for each other usually takes.
    pub fn critical_path(&self) -> Duration {
        let mut ends: Vec<Duration> = vec![Duration::ZERO; self.steps.len()];
        // On the way up removals stand before their resource's steps, so one pass sees every need first.
        for index in 0..self.steps.len() {
            let begin = self.needs(index).into_iter().map(|need| ends[need]).max().unwrap_or_default();
            ends[index] = begin + self.steps[index].typical;
        }
        ends.into_iter().max().unwrap_or_default()
    }

    /// Returns [`Plan::critical_path`] in whole minutes, rounded up.
    pub fn minutes(&self) -> u64 {
        self.critical_path().as_secs().div_ceil(60)
    }

    /// Returns the steps on the way up that let go of what is removed.
    fn users_of(&self, resource: Resource) -> Vec<usize> {
        match resource {
            // With the role gone first, RDS would go on without the right to.
            Resource::MonitoringRole => self.steps_of(Resource::Database),
            // An alarm must not tell a topic that is gone.
            Resource::Topic => self.removals_of(Resource::Alarms),
            Resource::Vpc
            | Resource::VpcDns
            | Resource::InternetGateway
            | Resource::PublicSubnet
            | Resource::PrivateSubnetA
            | Resource::PrivateSubnetB
            | Resource::PublicRoutes
            | Resource::PrivateRoutes
            | Resource::BastionGroup
            | Resource::DatabaseGroup
            | Resource::BastionRules
            | Resource::DatabaseRules
            | Resource::MasterSecret
            | Resource::LogGroups
            | Resource::SubnetGroup
            | Resource::Database
            | Resource::Alarms
            | Resource::Role
            | Resource::Profile
            | Resource::Instance
            | Resource::Session => Vec::new(),
        }
    }

    fn removals_of(&self, resource: Resource) -> Vec<usize> {
        let wanted = |step: &Step| step.resource == resource && matches!(step.action, Action::Delete { .. });
        self.steps.iter().enumerate().filter(|(_, step)| wanted(step)).map(|(index, _)| index).collect()
    }

    fn steps_of(&self, resource: Resource) -> Vec<usize> {
        let wanted = |step: &Step| {
            step.resource == resource
                && (self.direction == Direction::Down || !matches!(step.action, Action::Delete { .. }))
        };
        self.steps.iter().enumerate().filter(|(_, step)| wanted(step)).map(|(index, _)| index).collect()
    }

    fn neighbours(&self, resource: Resource) -> Vec<Resource> {
        match self.direction {
            Direction::Up => resource.needs().to_vec(),
            Direction::Down => {
                let holds = |user: &Resource| user.needs().contains(&resource) && !user.releases(resource);
                CREATE_ORDER.into_iter().filter(holds).collect()
            }
        }
    }
}

fn seconds<S: serde::Serializer>(typical: &Duration, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_u64(typical.as_secs())
}
