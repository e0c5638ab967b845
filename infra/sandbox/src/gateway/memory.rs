//! What the gateway remembers between calls. All of it is forgotten at a reset.

pub(crate) mod agents;
pub(crate) mod denials;
pub(crate) mod faults;
pub(crate) mod journal;
pub(crate) mod launches;
pub(crate) mod phases;
pub(crate) mod sessions;
pub(crate) mod signers;
pub(crate) mod subscriptions;
