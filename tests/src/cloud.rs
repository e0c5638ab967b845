//! The clouds that the same tests run on.

mod bastions;
mod containers;
mod docker;
mod machine;
mod servers;

use std::path::Path;

use sandbox::Sandbox;
use sandbox::gateway::Gateway;

pub use bastions::Line;
pub use containers::Containers;
pub use docker::Images;
pub use machine::Machine;

/// A cloud of one's own.
pub enum Cloud {
    /// moto, an agent and PostgreSQL on this machine.
    Sandbox(Box<Sandbox>),
    /// LocalStack, a bastion and PostgreSQL in containers.
    LocalStack(Box<Containers>),
}

impl Cloud {
    /// Returns the gateway that clients call.
    pub fn gateway(&self) -> &Gateway {
        match self {
            Cloud::Sandbox(sandbox) => sandbox.gateway(),
            Cloud::LocalStack(containers) => containers.gateway(),
        }
    }

    /// Returns what clients take as their endpoint.
    pub fn endpoint(&self) -> String {
        self.gateway().endpoint()
    }

    /// Returns the variables that point the program at it.
    pub fn environment(&self) -> Vec<(String, String)> {
        match self {
            Cloud::Sandbox(sandbox) => sandbox.environment(),
            Cloud::LocalStack(containers) => containers.environment(),
        }
    }

    /// Returns its folder.
    pub fn dir(&self) -> &Path {
        match self {
            Cloud::Sandbox(sandbox) => sandbox.dir(),
            Cloud::LocalStack(containers) => containers.dir(),
        }
    }

    /// Returns the containers.
    ///
    /// # Panics
    /// It is a sandbox.
    pub fn containers(&self) -> &Containers {
        match self {
            Cloud::Sandbox(_) => panic!("a sandbox has no containers"),
            Cloud::LocalStack(containers) => containers,
        }
    }

    /// Ends everything and waits until it is gone.
    pub(crate) async fn stop(self) {
        match self {
            Cloud::Sandbox(sandbox) => sandbox.stop().await.expect("the sandbox stops"),
            Cloud::LocalStack(containers) => containers.stop().await,
        }
    }
}
