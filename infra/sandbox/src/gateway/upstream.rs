//! The programs behind the gateway: the way to them, what they hold, and what follows from it.

pub(crate) mod acl;
pub(crate) mod alias;
pub(crate) mod api;
pub(crate) mod call_log;
pub(crate) mod emulator;
pub(crate) mod inventory;
pub(crate) mod kms;
pub(crate) mod network;

mod cidr;
mod client;

pub(crate) use client::Upstream;
