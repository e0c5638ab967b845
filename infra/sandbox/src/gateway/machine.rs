//! The interface to the machines behind EC2 instances.

/// The machines that EC2 instances stand for, each of which runs an agent. Both return at once; what they start goes
/// on elsewhere, in the order of the calls.
pub trait Machines: Send + Sync + 'static {
    /// The instance was launched, started or rebooted.
    fn boot(&self, instance_id: &str);

    /// The instance was stopped, terminated or rebooted.
    fn halt(&self, instance_id: &str);
}

/// Nothing runs; the agents are in this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoMachines;

impl Machines for NoMachines {
    fn boot(&self, _instance_id: &str) {}

    fn halt(&self, _instance_id: &str) {}
}
