//! `migrate`: brings tenants' databases up to the newest migration.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws::Cloud;
use db::migrate::{
    Check, Late, Outcome, Partition, RunName, RunOptions, Stop, Target, TenantPlan, TenantReport, Withheld,
};
use db::{ConnectOptions, Login, Migration, Server};
use serde_json::json;
use stack::spec::{OnError, Tenant};

use crate::bridge::Bridge;
use crate::context::Context;
use crate::disk::{self, Work};
use crate::failure::{Exit, Failure};
use crate::report::{self, junit};
use crate::sets::Sets;
use crate::task::{history, join, tenant};
use crate::text::{Text, put_line};
use crate::{place, registry, table, view};

/// How many tenants at a time where nobody could be asked for the server's free connections.
const SHY_JOBS: usize = 4;

/// Checks the files first, then plans or applies.
pub async fn run(context: &Context, args: &xtask::Migrate) -> Result<ExitCode, Failure> {
    let joined = args.join.as_deref().map(RunName::parse).transpose()?;
    // A query's tenants are known only through the tunnel.
    let known = match registry::is_complete(context) {
        true => Some(tenant::chosen(context, &args.tenants)?),
        false => None,
    };
    let dir = args.dir.clone().unwrap_or_else(|| place::workspace().join("db/migrations"));
    let mut sets = Sets::load(&dir, known.as_deref(), &context.events)?;
    let known = known.map(|tenants| share(tenants, args)).transpose()?;
    if known.as_ref().is_some_and(Vec::is_empty) {
        return nobody(context, args).map(|()| ExitCode::SUCCESS);
    }
    let (cloud, inventory) = context.reach().await?;
    let bridge = Box::pin(Bridge::to_database(context, &cloud, &inventory)).await?;
    let work = async |bridge: &Arc<Bridge>| {
        let server = bridge.server(context)?;
        let tenants = match known {
            Some(tenants) => tenants,
            None => {
                let context = registry::complete(context, &cloud, &server).await?;
                share(tenant::chosen(&context, &args.tenants)?, args)?
            }
        };
        if tenants.is_empty() {
            return nobody(context, args);
        }
        let mut options = options(context, args, &tenants);
        let logins = logins(context, &cloud, &tenants).await?;
        let targets = sets.targets(&tenants, logins)?;
        if let Some(version) = args.baseline {
            return history::baseline(context, &server, &targets, version, &options).await;
        }
        if args.repair {
            return history::repair(context, &server, &targets, &args.replaced, &options).await;
        }
        options.jobs = jobs(context, args.jobs, &server, &targets).await?;
        if args.plan {
            return plan(context, &server, &targets, &options).await;
        }
        let allow_full = args.allow_full_disk.into();
        disk::check(context, (&cloud, &server), &inventory, Work::Migrations, allow_full).await?;
        if let Some(run) = &joined {
            return join::run(context, args, (&cloud, &server), run, &targets, options).await;
        }
        let start = Instant::now();
        let reports = migrate(context, &server, &targets, &options).await;
        tell(context, args, &reports, start.elapsed())
    };
    Box::pin(bridge.during(work)).await.map(|()| ExitCode::SUCCESS)
}

/// Says that there is nobody to migrate.
fn nobody(context: &Context, args: &xtask::Migrate) -> Result<(), Failure> {
    context.view.say("no tenant is in this partition");
    tell(context, args, &[], Duration::ZERO)
}

/// Prints what became of each tenant, and writes the report for CI.
fn tell(
    context: &Context,
    args: &xtask::Migrate,
    reports: &[TenantReport],
    elapsed: Duration,
) -> Result<(), Failure> {
    let shown = show(context, reports);
    let written =
        args.junit.as_ref().map_or(Ok(()), |file| report::write(file, &junit::junit(reports, elapsed)));
    report::after(context, shown, written)
}

/// Returns the tenants of this process's partition.
fn share(tenants: Vec<Tenant>, args: &xtask::Migrate) -> Result<Vec<Tenant>, Failure> {
    // Whoever joins a run gets its share there, in an array job as well.
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

fn options(context: &Context, args: &xtask::Migrate, tenants: &[Tenant]) -> RunOptions {
    let mut options = configured(context, tenants, args.lock_timeout);
    options.late = if args.out_of_order { Late::Apply } else { Late::Refuse };
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

/// Returns what the stack file says of waves and errors; `lock_timeout` is in seconds, 0 for none.
fn configured(context: &Context, tenants: &[Tenant], lock_timeout: u32) -> RunOptions {
    let told = &context.stack.migrate;
    let labels: Vec<Vec<String>> = tenants.iter().map(|tenant| tenant.labels.clone()).collect();
    for wave in &told.waves {
        if matches!(wave, stack::spec::Wave::Label(label) if !labels.iter().flatten().any(|one| one == label))
        {
            context.events.warn(format!("no tenant has the label `{wave}`; that wave is left out"));
        }
    }
    // A statement that waits for its lock keeps everybody out who comes after it.
    let lock_timeout = (lock_timeout > 0).then(|| Duration::from_secs(lock_timeout.into()));
    let usual = RunOptions::default();
    RunOptions {
        connect: ConnectOptions { lock_timeout, ..usual.connect },
        waves: db::migrate::deal(&told.waves, &labels),
        error_budget: usize::try_from(told.error_budget).unwrap_or(usize::MAX),
        on_error: told.on_error,
        ..usual
    }
}

/// Migrates them as the stack file says, in its waves.
///
/// # Errors
/// A secret that cannot be had; a tenant's own failure is in its report.
pub(super) async fn in_waves(
    context: &Context,
    cloud: &Cloud,
    server: &Server,
    tenants: &[Tenant],
    sets: &mut Sets,
    lock_timeout: u32,
) -> Result<Vec<TenantReport>, Failure> {
    let targets = sets.targets(tenants, logins(context, cloud, tenants).await?)?;
    let mut options = configured(context, tenants, lock_timeout);
    options.jobs = jobs(context, None, server, &targets).await?;
    Ok(migrate(context, server, &targets, &options).await)
}

/// Returns how many tenants at a time: as told, or as the server has room.
pub(super) async fn jobs(
    context: &Context,
    told: Option<u16>,
    server: &Server,
    targets: &[Target],
) -> Result<usize, Failure> {
    if let Some(jobs) = told.or(context.stack.migrate.jobs) {
        return Ok(usize::from(jobs));
    }
    // Any tenant may ask; one that is broken must not keep the others from it.
    for target in targets.iter().filter(|target| target.no_login.is_none()).take(3) {
        match db::migrate::find_jobs(server, &target.login).await {
            Ok(jobs) => return Ok(jobs),
            Err(error @ db::Error::Full { .. }) => return Err(error.into()),
            Err(_) => {}
        }
    }
    Ok(SHY_JOBS)
}

/// Prints what would be applied where.
///
/// # Errors
/// Exit 6 or 7 if all or some tenants cannot be migrated.
async fn plan(
    context: &Context,
    server: &Server,
    targets: &[Target],
    options: &RunOptions,
) -> Result<(), Failure> {
    let stop = forward(context, &options.stop);
    let looked = db::migrate::plan_all(server, targets, options).await;
    stop.abort();
    context.check_interrupted()?;
    let mut rows = Vec::new();
    let mut plans: Vec<TenantPlan> = Vec::new();
    let mut failed = 0;
    let mut errors = Vec::new();
    let mut due: BTreeMap<(Option<&str>, i32), (&Migration, usize)> = BTreeMap::new();
    for (Target { login, set, .. }, looked) in targets.iter().zip(looked) {
        match looked {
            Ok(plan) => {
                for file in set.migrations.iter().filter(|file| plan.pending.contains(&file.to_string())) {
                    due.entry((set.name.as_deref(), file.version())).or_insert((file, 0)).1 += 1;
                }
                let problems = plan.problems();
                failed += usize::from(!problems.is_empty());
                let state =
                    if plan.pending.is_empty() { "up to date".to_owned() } else { plan.pending.join(", ") };
                let applied = plan.applied.len().to_string();
                rows.push(vec![login.database.clone(), applied, state, problems.join("; ")]);
                plans.push(plan);
            }
            Err(error) => {
                failed += 1;
                rows.push(vec![login.database.clone(), String::new(), "failed".to_owned(), error.chain()]);
                errors.push(json!({ "tenant": login.database, "error": error }));
            }
        }
    }
    let mut text = table::render(&["tenant", "applied", "pending", ""], &rows);
    let mut files = Vec::new();
    for ((set, _), (file, tenants)) in due {
        let of = set.map(|set| format!(" of the set `{set}`")).unwrap_or_default();
        text.blank();
        put_line!(text, "-- {file}{of}, due in {tenants} of {}", targets.len());
        text.file(file.sql());
        files.push(
            json!({ "migration": file.to_string(), "set": set, "tenants": tenants, "sql": file.sql() }),
        );
    }
    view::result(
        context.json,
        &text,
        &json!({ "plans": plans, "files": files, "errors": errors, "failed": failed }),
    )?;
    tenant::verdict(failed, targets.len())
}

/// Migrates all of them in one wave, as many at a time as there are.
///
/// # Errors
/// A secret that cannot be had; a tenant's own failure is in its report.
pub async fn apply(
    context: &Context,
    cloud: &Cloud,
    server: &Server,
    tenants: &[Tenant],
    sets: &mut Sets,
) -> Result<Vec<TenantReport>, Failure> {
    let targets = sets.targets(tenants, logins(context, cloud, tenants).await?)?;
    let options = RunOptions { jobs: tenants.len(), ..RunOptions::default() };
    Ok(migrate(context, server, &targets, &options).await)
}

/// Migrates; Ctrl-C lets what is in flight end or rolls it back, and every tenant is in the reports.
async fn migrate(
    context: &Context,
    server: &Server,
    targets: &[Target],
    options: &RunOptions,
) -> Vec<TenantReport> {
    let stop = forward(context, &options.stop);
    let together = context.view.together("tenants", "tenant ", targets.len());
    let reports = db::migrate::run_sets(server, targets, options, &context.events).await;
    drop(together);
    stop.abort();
    reports
}

/// Raises the engine's flag when Ctrl-C is pressed.
pub(super) fn forward(context: &Context, flag: &Stop) -> tokio::task::JoinHandle<()> {
    let (asked, flag) = (context.stop.clone(), flag.clone());
    tokio::spawn(async move {
        asked.raised().await;
        flag.raise();
    })
}

/// Prints what became of each tenant.
fn show(context: &Context, reports: &[TenantReport]) -> Result<(), Failure> {
    let mut text = Text::new();
    // What a terminal shows is the end: the reasons of what failed, and the total.
    let (failures, done): (Vec<_>, Vec<_>) = reports.iter().partition(|report| !is_done(report));
    for report in done.iter().chain(&failures) {
        put_line!(text, "{}: {}", report.tenant, report::outcome(&report.outcome));
    }
    if reports.len() > 1 {
        text.line(total(reports));
    }
    view::result(context.json, &text, &json!({ "tenants": reports, "failed": failed(reports) }))?;
    judge(reports)
}

/// Tells whether every tenant is migrated.
///
/// # Errors
/// Exit 6 or 7 if all or some tenants failed or were held back, 130 if the run was interrupted.
pub fn judge(reports: &[TenantReport]) -> Result<(), Failure> {
    let is_interrupted = |report: &TenantReport| {
        matches!(
            report.outcome,
            Outcome::Interrupted { .. }
                | Outcome::NotStarted { reason: Withheld::Interrupted | Withheld::Elsewhere }
        )
    };
    if reports.iter().any(is_interrupted) {
        return Err(Failure::new(Exit::Interrupted, anyhow::Error::msg("interrupted while migrating"))
            .hint("run the same again: it goes on from there, and what is done costs one round trip"));
    }
    let is_refused = |report: &&TenantReport| matches!(&report.outcome, Outcome::Failed { error, .. } if tenant::is_shut_out(error));
    let is_cut_off = |report: &TenantReport| {
        matches!(&report.outcome, Outcome::Failed { error: db::Error::Dial { .. }, .. })
    };
    tenant::verdict(failed(reports), reports.len()).map_err(|mut failure| {
        let refused: Vec<&str> = reports.iter().filter(is_refused).map(|one| one.tenant.as_str()).collect();
        if !refused.is_empty() {
            failure = failure
                .hint(format!(
                    "`cargo xtask tenant create {}` makes what is missing, and has the server know the password in \
                     the secret",
                    refused.join(" ")
                ))
                // Secrets of many roles are read together, and only the versions that are current.
                .hint("a rotation that was cut off is finished by `cargo xtask secret rotate ROLE`");
        }
        if reports.iter().any(is_cut_off) {
            failure = failure.hint(
                "`cargo xtask doctor` says why there is no connection; the same again goes on from here",
            );
        }
        failure
    })
}

pub(super) fn failed(reports: &[TenantReport]) -> usize {
    reports.iter().filter(|report| !is_done(report)).count()
}

fn is_done(report: &TenantReport) -> bool {
    matches!(report.outcome, Outcome::UpToDate | Outcome::Applied { .. })
}

/// Renders how many tenants came to what: `19 migrated, 1 failed`; what there is none of is left out.
pub(super) fn total(reports: &[TenantReport]) -> String {
    let count = |is: fn(&Outcome) -> bool| reports.iter().filter(|report| is(&report.outcome)).count();
    let counts = [
        (count(|outcome| matches!(outcome, Outcome::Applied { .. })), "migrated"),
        (count(|outcome| matches!(outcome, Outcome::UpToDate)), "up to date"),
        (count(|outcome| matches!(outcome, Outcome::Interrupted { .. })), "interrupted"),
        (count(|outcome| matches!(outcome, Outcome::NotStarted { .. })), "not started"),
        (count(|outcome| matches!(outcome, Outcome::Failed { .. })), "failed"),
    ];
    let counts: Vec<String> = counts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    counts.join(", ")
}

/// Returns how each tenant's role logs in, or why it cannot.
///
/// # Errors
/// What concerns all tenants.
pub(super) async fn logins(
    context: &Context,
    cloud: &Cloud,
    tenants: &[Tenant],
) -> Result<Vec<Result<Login, String>>, Failure> {
    let specs = tenant::specs(context, cloud, tenants).await?;
    Ok(specs.into_iter().map(|spec| spec.map(|spec| spec.login()).map_err(tenant::one_line)).collect())
}
