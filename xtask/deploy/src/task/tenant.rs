//! `tenant list|create|verify|drop`.

mod create;
mod drop;
mod list;
mod verify;

use std::process::ExitCode;
use std::sync::Arc;

use db::Login;
use stack::spec::Tenant;

use crate::bridge::{self, Bridge};
use crate::context::Context;
use crate::db_task::{self, DbTask};
use crate::disk::{self, Work};
use crate::failure::Failure;
use crate::reach::reach;
use crate::tenants;

pub use self::create::{create, judge_created};
pub use self::verify::{judge_verified, look, verify};

/// Runs one of the tenants' tasks.
pub async fn run(context: &Context, command: &xtask::Tenant) -> Result<ExitCode, Failure> {
    if let xtask::Tenant::Drop(args) = command {
        return Box::pin(drop::run(context, args)).await;
    }
    if tenants::is_complete(context) {
        // A misspelt name is told before anything is contacted.
        named(context, command)?;
    }
    let (cloud, inventory) = reach(context).await?;
    // A new secret says where the database is.
    let stack = Arc::new(stack::plan::at_its_port(&context.stack, &inventory).into_owned());
    let context = &Context { stack, ..context.clone() };
    let master = bridge::master(context, &cloud).await?;
    let work = async |task: DbTask<'_>, _: &Arc<Bridge>| {
        if let xtask::Tenant::Create(args) = command {
            disk::check(task, &inventory, Work::Databases, args.allow_full_disk.into()).await?;
        }
        work(task, command, &master).await
    };
    db_task::run(context, &cloud, &inventory, work).await.map(|()| ExitCode::SUCCESS)
}

async fn work(task: DbTask<'_>, command: &xtask::Tenant, master: &Login) -> Result<(), Failure> {
    let context = &*tenants::complete(task).await?;
    let task = task.within(context);
    let chosen = named(context, command)?;
    match command {
        xtask::Tenant::List | xtask::Tenant::Drop(_) => list::list(task, master).await,
        xtask::Tenant::Create(_) => create::show_created(context, &create(task, master, &chosen).await?),
        xtask::Tenant::Verify(_) => verify(task, master, &chosen).await.map(std::mem::drop),
    }
}

/// Returns the tenants that the task is about.
fn named(context: &Context, command: &xtask::Tenant) -> Result<Vec<Tenant>, Failure> {
    match command {
        xtask::Tenant::List | xtask::Tenant::Drop(_) => Ok(Vec::new()),
        xtask::Tenant::Create(args) => tenants::chosen(context, &args.tenants.tenants),
        xtask::Tenant::Verify(args) => tenants::chosen(context, &args.tenants),
    }
}
