//! `migrate`: brings tenants' databases up to the newest migration.

mod apply;
mod history;
mod join;
pub mod lint;
mod options;
mod outcome;
mod plan;
pub mod status;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use db::migrate::RunName;

use crate::bridge::Bridge;
use crate::context::Context;
use crate::db_task::{self, DbTask};
use crate::disk::{self, Work};
use crate::failure::Failure;
use crate::reach::reach;
use crate::sets::Sets;
use crate::{paths, tenants};

pub use self::apply::{apply, in_waves};
pub use self::outcome::judge;

/// Checks the files first, then plans or applies.
pub async fn run(context: &Context, args: &xtask::Migrate) -> Result<ExitCode, Failure> {
    let joined = args.join.as_deref().map(RunName::parse).transpose()?;
    // A query's tenants are known only through the tunnel.
    let known = match tenants::is_complete(context) {
        true => Some(tenants::chosen(context, &args.tenants)?),
        false => None,
    };
    let dir = args.dir.clone().unwrap_or_else(|| paths::workspace().join("db/migrations"));
    let mut sets = Sets::load(&dir, known.as_deref(), &context.events)?;
    let known = known.map(|tenants| options::share(tenants, args)).transpose()?;
    if known.as_ref().is_some_and(Vec::is_empty) {
        return nobody(context, args).map(|()| ExitCode::SUCCESS);
    }
    let (cloud, inventory) = reach(context).await?;
    let work = async |task: DbTask<'_>, _: &Arc<Bridge>| {
        let tenants = match known {
            Some(tenants) => tenants,
            None => {
                let context = tenants::complete(task).await?;
                options::share(tenants::chosen(&context, &args.tenants)?, args)?
            }
        };
        if tenants.is_empty() {
            return nobody(context, args);
        }
        let mut options = options::options(context, args, &tenants);
        let targets = sets.targets(&tenants, apply::logins(task, &tenants).await?)?;
        if let Some(version) = args.baseline {
            return history::baseline(task, &targets, version, &options).await;
        }
        if args.repair {
            return history::repair(task, &targets, &args.replaced, &options).await;
        }
        options.jobs = options::jobs(task, args.jobs, &targets).await?;
        if args.plan {
            return plan::plan(task, &targets, &options).await;
        }
        disk::check(task, &inventory, Work::Migrations, args.allow_full_disk.into()).await?;
        if let Some(run) = &joined {
            return join::run(task, args, run, &targets, options).await;
        }
        let start = Instant::now();
        let reports = apply::migrate(task, &targets, &options).await;
        outcome::tell(context, args, &reports, start.elapsed())
    };
    db_task::run(context, &cloud, &inventory, work).await.map(|()| ExitCode::SUCCESS)
}

/// Says that there is nobody to migrate.
fn nobody(context: &Context, args: &xtask::Migrate) -> Result<(), Failure> {
    context.view.say("no tenant is in this partition");
    outcome::tell(context, args, &[], Duration::ZERO)
}
