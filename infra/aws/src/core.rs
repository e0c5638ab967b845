//! What all resource kinds use: tags and ownership, waiting and retrying, a step's job and the state of a running plan.
//!
//! Architecture invariant: nothing in here names a module of a resource kind.

pub(crate) mod backoff;
pub(crate) mod blocker;
pub(crate) mod create_once;
pub(crate) mod deletion_proof;
pub(crate) mod job;
pub(crate) mod ownership;
pub(crate) mod password;
pub(crate) mod retry;
pub(crate) mod state;
pub(crate) mod step_handle;
pub(crate) mod tag;
pub(crate) mod wait;
