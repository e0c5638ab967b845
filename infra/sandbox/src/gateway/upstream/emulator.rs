//! The programs behind the gateway, and which of them answers for what.

use std::fmt;
use std::net::SocketAddr;

use serde::Serialize;

use crate::gateway::wire::signature;

/// A program that answers for AWS, by its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emulator {
    /// moto's server, as anybody starts it.
    Moto(SocketAddr),
    /// Our own server of moto, which answers only requests with its key.
    OwnMoto(SocketAddr, MotoKey),
    /// LocalStack. Its free image lacks RDS, and only a restart empties it.
    LocalStack(SocketAddr),
}

impl Emulator {
    pub(crate) fn address(self) -> SocketAddr {
        match self {
            Emulator::Moto(address) | Emulator::OwnMoto(address, _) | Emulator::LocalStack(address) => {
                address
            }
        }
    }

    /// Returns its name, for messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Emulator::Moto(_) | Emulator::OwnMoto(..) => "moto",
            Emulator::LocalStack(_) => "LocalStack",
        }
    }

    /// Returns its key, if it has one.
    pub(crate) fn key(self) -> Option<MotoKey> {
        match self {
            Emulator::OwnMoto(_, key) => Some(key),
            Emulator::Moto(_) | Emulator::LocalStack(_) => None,
        }
    }

    /// Returns the path that empties it when posted to.
    pub(crate) fn reset_path(self) -> &'static str {
        match self {
            Emulator::Moto(_) | Emulator::OwnMoto(..) => "/moto-api/reset",
            Emulator::LocalStack(_) => "/_localstack/state/reset",
        }
    }
}

/// The key that our own server of moto requires with each request. `Debug` does not show it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MotoKey([u8; 32]);

impl MotoKey {
    /// Returns a key that nobody can guess.
    pub(crate) fn random() -> MotoKey {
        MotoKey(rand::random())
    }

    /// Returns the text of the key.
    pub(crate) fn expose(&self) -> String {
        signature::hex(&self.0)
    }
}

impl fmt::Debug for MotoKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Who answers what the gateway does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upstreams {
    /// Answers for RDS. It must be moto: the aliases of subnets and secrets are made for moto.
    pub rds: Emulator,
    /// For every other service.
    pub others: Emulator,
}

impl Upstreams {
    /// Returns one program for every service.
    pub fn one(emulator: Emulator) -> Upstreams {
        Upstreams { rds: emulator, others: emulator }
    }

    pub(crate) fn is_split(&self) -> bool {
        self.rds != self.others
    }

    pub(crate) fn of(&self, side: Side) -> Emulator {
        match side {
            Side::Rds => self.rds,
            Side::Others => self.others,
        }
    }
}

/// One of the two places behind the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// Where RDS is.
    Rds,
    /// Where every other service is.
    Others,
}

impl Side {
    /// Returns the side of a service.
    pub(crate) fn of(service: &str) -> Side {
        if service == "rds" { Side::Rds } else { Side::Others }
    }
}
