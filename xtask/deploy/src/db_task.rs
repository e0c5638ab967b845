//! A task on the stack's databases: opens a tunnel, works, and closes the tunnel again.

use std::sync::Arc;

use aws::Cloud;
use db::Server;
use stack::Inventory;

use crate::bridge::Bridge;
use crate::context::Context;
use crate::failure::Failure;

/// What a task on the databases needs.
#[derive(Clone, Copy)]
pub struct DbTask<'a> {
    /// What every task starts from.
    pub context: &'a Context,
    /// The connection to AWS.
    pub cloud: &'a Cloud,
    /// The server at the far end of the tunnel.
    pub server: &'a Server,
}

impl<'a> DbTask<'a> {
    /// Returns the same task in another context.
    #[must_use]
    pub fn within(self, context: &'a Context) -> DbTask<'a> {
        DbTask { context, ..self }
    }
}

/// Opens a tunnel to the stack's database, works, and closes the tunnel, whatever comes of the work.
///
/// # Errors
/// There is no bastion or no database, or the tunnel does not open (5); or the work's own.
pub async fn run<T>(
    context: &Context,
    cloud: &Cloud,
    inventory: &Inventory,
    work: impl AsyncFnOnce(DbTask<'_>, &Arc<Bridge>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let bridge = Box::pin(Bridge::to_database(context, cloud, inventory)).await?;
    run_on(context, cloud, bridge, work).await
}

/// As [`run`], through a tunnel that is open already.
///
/// # Errors
/// The work's own.
pub async fn run_on<T>(
    context: &Context,
    cloud: &Cloud,
    bridge: Bridge,
    work: impl AsyncFnOnce(DbTask<'_>, &Arc<Bridge>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let work = async |bridge: &Arc<Bridge>| {
        let server = bridge.server(context)?;
        Box::pin(work(DbTask { context, cloud, server: &server }, bridge)).await
    };
    Box::pin(bridge.during(work)).await
}
