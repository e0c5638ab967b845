//! The tasks that a policy can be made for.

use serde::Serialize;

/// Tasks that a person or a pipeline may be allowed to run, by what they need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// `plan`, `status`, `resources`, `audit`, `cost`.
    Status,
    /// `doctor`.
    Doctor,
    /// `tunnel`, `exec`, `psql`, `bastion shell`.
    Connect,
    /// `migrate`, `migrate status`.
    Migrate,
    /// `tenant list`, `create`, `verify`, `drop`.
    Tenant,
    /// `secret rotate`.
    Rotate,
    /// `bastion start`, `stop`, `extend`, `keep`, `reboot`; `sweep`.
    Bastion,
    /// `up`.
    Up,
    /// `down`.
    Down,
    /// `adopt`.
    Adopt,
}

impl Task {
    /// Every task.
    pub const ALL: [Task; 10] = [
        Task::Status,
        Task::Doctor,
        Task::Connect,
        Task::Migrate,
        Task::Tenant,
        Task::Rotate,
        Task::Bastion,
        Task::Up,
        Task::Down,
        Task::Adopt,
    ];
}
