//! The options of a run: its partition, waves, limits and concurrency.

use std::time::Duration;

use db::ConnectOptions;
use db::migrate::{Check, OutOfOrder, Partition, RunOptions, Target};
use stack::spec::{OnError, Tenant};

use crate::context::Context;
use crate::db_task::DbTask;
use crate::failure::Failure;

/// Tenants at a time if the server does not say how many connections are free.
const FALLBACK_JOBS: usize = 4;

/// Returns the tenants of this process's partition.
pub(super) fn share(tenants: Vec<Tenant>, args: &xtask::Migrate) -> Result<Vec<Tenant>, Failure> {
    // A runner that joins a run gets its share from the run, also in an array job.
    if args.join.is_some() {
        return Ok(tenants);
    }
    let partition = match &args.partition {
        Some(text) => Some(Partition::parse(text)?),
        None => Partition::find(|name| std::env::var(name).ok())?,
    };
    let Some(partition) = partition else { return Ok(tenants) };
    Ok(tenants.into_iter().filter(|tenant| partition.has(&tenant.name)).collect())
}

/// Returns the run's options from the stack file and the command line.
pub(super) fn options(context: &Context, args: &xtask::Migrate, tenants: &[Tenant]) -> RunOptions {
    let mut options = configured(context, tenants, args.lock_timeout);
    options.late = if args.out_of_order { OutOfOrder::Apply } else { OutOfOrder::Refuse };
    options.check = if args.check_first { Check::AllFirst } else { Check::EachInTurn };
    if let Some(budget) = args.error_budget {
        options.error_budget = usize::try_from(budget).unwrap_or(usize::MAX);
    }
    match args.on_error {
        Some(xtask::OnError::Continue) => options.on_error = OnError::Continue,
        Some(xtask::OnError::Stop) => options.on_error = OnError::Stop,
        None => {}
    }
    options
}

/// Returns the run's options from the stack file. `lock_timeout` is in seconds; 0 means none.
pub(super) fn configured(context: &Context, tenants: &[Tenant], lock_timeout: u32) -> RunOptions {
    let told = &context.stack.migrate;
    let labels: Vec<Vec<String>> = tenants.iter().map(|tenant| tenant.labels.clone()).collect();
    for wave in &told.waves {
        if matches!(wave, stack::spec::Wave::Label(label) if !labels.iter().flatten().any(|one| one == label))
        {
            context.events.warn(format!("no tenant has the label `{wave}`; that wave is left out"));
        }
    }
    // A statement that waits for a lock blocks every later statement on that table.
    let lock_timeout = (lock_timeout > 0).then(|| Duration::from_secs(lock_timeout.into()));
    let usual = RunOptions::default();
    RunOptions {
        connect: ConnectOptions { lock_timeout, ..usual.connect },
        waves: db::migrate::assign_waves(&told.waves, &labels),
        error_budget: usize::try_from(told.error_budget).unwrap_or(usize::MAX),
        on_error: told.on_error,
        ..usual
    }
}

/// Returns the number of tenants at a time: as configured, or as the server has free connections.
pub(super) async fn jobs(task: DbTask<'_>, told: Option<u16>, targets: &[Target]) -> Result<usize, Failure> {
    let DbTask { context, server, .. } = task;
    if let Some(jobs) = told.or(context.stack.migrate.jobs) {
        return Ok(usize::from(jobs));
    }
    // Any tenant's login can ask the server. One that fails must not stop the others.
    for target in targets.iter().filter(|target| target.no_login.is_none()).take(3) {
        match db::migrate::find_jobs(server, &target.login).await {
            Ok(jobs) => return Ok(jobs),
            Err(error @ db::Error::Full { .. }) => return Err(error.into()),
            Err(_) => {}
        }
    }
    Ok(FALLBACK_JOBS)
}
