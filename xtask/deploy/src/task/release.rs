//! `release`: what a release step does with the databases, in one task that may be run twice, and twice at once.

use std::env;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws::{ApplyOptions, Cloud};
use db::migrate::Outcome;
use db::{ConnectOptions, Login, Session, lock};
use stack::spec::Tenant;
use stack::{Component, Event, Inventory};
use xtask::BastionAfter;

use crate::apply::apply;
use crate::bridge::{self, Bridge};
use crate::context::Context;
use crate::db_task::{self, DbTask};
use crate::failure::{Exit, Failure};
use crate::report::{self, release::Release};
use crate::sets::Sets;
use crate::stack_lock::{self, Freshness};
use crate::task::{migrate, tenant, up};
use crate::{confirm, connected, file, paths, program, tenants, view};

/// Where GitHub collects what it shows of a run.
const SUMMARY: &str = "GITHUB_STEP_SUMMARY";

/// Brings up the bastion, creates what tenants are missing, migrates, verifies, and leaves the bastion as told.
///
/// # Errors
/// Those of its parts, with their exit codes; the report is written all the same.
pub async fn run(context: &Context, args: &xtask::Release) -> Result<ExitCode, Failure> {
    let dir = args.dir.clone().unwrap_or_else(|| paths::workspace().join("db/migrations"));
    let known = tenants::is_complete(context).then_some(context.stack.tenants.as_slice());
    // A bad file is the user's to mend before anything costs.
    let mut sets = Sets::load(&dir, known, &context.events)?;
    if let Some(file) = &args.report {
        report::try_writing(file)?;
    }
    let mut release = Release { stack: context.stack.name.clone(), ..Release::default() };
    let result = Box::pin(work(context, args, &mut sets, &mut release)).await;
    release.exit = result.as_ref().err().map_or(0, |failure| failure.exit as u8);
    release.error = result.as_ref().err().map(Failure::chain).filter(|chain| !chain.is_empty());
    let written = tell(context, args, &release);
    report::after(context, result, written).map(|()| ExitCode::SUCCESS)
}

fn tell(context: &Context, args: &xtask::Release, release: &Release) -> Result<(), Failure> {
    let shown = view::result(context.json, &release.text(), release).map_err(Failure::from);
    // One that cannot be had keeps nobody from the others.
    let written = args.report.as_ref().map_or(Ok(()), |file| report::write(file, &report::json(release)));
    if let Some(file) = env::var_os(SUMMARY).filter(|file| !file.is_empty())
        && let Err(error) = file::append(Path::new(&file), &program::called(&release.markdown()))
    {
        // What was released is not undone by it.
        context.events.warn(format!("cannot write the summary `{}`: {error}", file.display()));
    }
    report::after(context, shown, written)
}

/// How the bastion was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Absent,
    Stopped,
    Running,
}

impl Found {
    fn of(inventory: &Inventory) -> Found {
        match inventory.bastion() {
            None => Found::Absent,
            Some(bastion) if matches!(bastion.state.as_str(), "stopped" | "stopping") => Found::Stopped,
            Some(_) => Found::Running,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Found::Absent => "created",
            Found::Stopped => "started",
            Found::Running => "ran",
        }
    }
}

async fn work(
    context: &Context,
    args: &xtask::Release,
    sets: &mut Sets,
    release: &mut Release,
) -> Result<(), Failure> {
    let (cloud, inventory) = context.observe().await?;
    // Not created by a release: what costs the most is somebody's decision.
    bridge::endpoint(&inventory)?;
    let mut found = Found::of(&inventory);
    if found != Found::Running {
        confirm::yes(context, "bring up the bastion?")?;
    }
    let mut inventory = bring(context, &cloud, inventory).await?;
    let mut opened = Box::pin(Bridge::to_database(context, &cloud, &inventory)).await;
    if opened.as_ref().is_err_and(|failure| failure.exit == Exit::Tunnel) {
        // Another release may have put it away a moment ago. If that cannot be seen, why it was not opened says more.
        if let Ok((_, now)) = context.observe().await
            && Found::of(&now) != Found::Running
        {
            found = Found::of(&now);
            inventory = bring(context, &cloud, now).await?;
            opened = Box::pin(Bridge::to_database(context, &cloud, &inventory)).await;
        }
    }
    release.bastion.push(found.word());
    let result = match opened {
        Ok(bridge) => {
            let work = async |task: DbTask<'_>, _: &Arc<Bridge>| under_lock(task, args, sets, release).await;
            db_task::run_on(context, &cloud, bridge, work).await
        }
        Err(failure) => Err(failure),
    };
    let put = Box::pin(put_away(context, args, &cloud, inventory, found, release)).await;
    // What went wrong first says more.
    result.and(put)
}

async fn bring(context: &Context, cloud: &Cloud, inventory: Inventory) -> Result<Inventory, Failure> {
    phase(context, "bastion", up::bring(context, cloud, inventory, &[Component::Bastion])).await
}

/// Does it while no other release of this stack does.
async fn under_lock(
    task: DbTask<'_>,
    args: &xtask::Release,
    sets: &mut Sets,
    release: &mut Release,
) -> Result<(), Failure> {
    let DbTask { context, cloud, server } = task;
    let master = bridge::master(context, cloud).await?;
    let session = db::connect(server, &master, &ConnectOptions::default()).await?;
    let limit = Duration::from_secs(u64::from(args.wait) * 60);
    let taken = lock::acquire(&session, lock::RELEASE, "release", limit, &context.events);
    tokio::select! {
        taken = taken => taken?,
        () = context.stop.raised() => context.check_interrupted()?,
    }
    let began = Instant::now();
    let result = Box::pin(each_part(task, args, &master, sets, release)).await;
    release.elapsed = began.elapsed();
    let held = still_held(session).await;
    result.and(held)
}

/// Says whether nobody else can have begun meanwhile, and lets the next one in.
async fn still_held(session: Session) -> Result<(), Failure> {
    let released = lock::release(&session, lock::RELEASE).await;
    session.close().await;
    Ok(released?)
}

async fn each_part(
    task: DbTask<'_>,
    args: &xtask::Release,
    master: &Login,
    sets: &mut Sets,
    release: &mut Release,
) -> Result<(), Failure> {
    let context = &*tenants::complete(task).await?;
    let task = task.within(context);
    let tenants: Vec<Tenant> = tenants::chosen(context, &[])?;
    let created = phase(context, "tenants", tenant::create(task, master, &tenants)).await?;
    release.on_created(&created);
    let creating = tenant::judge_created(&created);
    // Whoever could not be created cannot be migrated; the others can, unless we were interrupted.
    if creating.as_ref().is_err_and(|failure| matches!(failure.exit, Exit::Interrupted | Exit::AllTenants)) {
        return creating;
    }
    let there: Vec<Tenant> = tenants.into_iter().filter(|tenant| !failed(&created, &tenant.name)).collect();
    let migrating = migrate::in_waves(task, &there, sets, args.lock_timeout);
    let reports = phase(context, "migrations", migrating).await?;
    release.on_migrated(&reports);
    let migrating = migrate::judge(&reports);
    if migrating.as_ref().is_err_and(|failure| failure.exit != Exit::SomeTenants) {
        return migrating;
    }
    // Whoever was migrated is looked at, though others failed.
    let is_done = |tenant: &Tenant| {
        let is_whole = |outcome: &Outcome| matches!(outcome, Outcome::UpToDate | Outcome::Applied { .. });
        reports.iter().any(|one| one.tenant == tenant.name && is_whole(&one.outcome))
    };
    let there: Vec<Tenant> = there.into_iter().filter(is_done).collect();
    let verified = phase(context, "verify", tenant::look(task, master, &there)).await?;
    release.on_verified(&verified);
    migrating.and(creating).and(tenant::judge_verified(&verified))
}

fn failed(created: &[db::tenant::Created], name: &str) -> bool {
    created.iter().any(|one| one.tenant == name && matches!(one.outcome, db::tenant::Outcome::Failed(_)))
}

async fn phase<T>(
    context: &Context,
    name: &str,
    part: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    context.check_interrupted()?;
    context.events.emit(Event::PhaseStarted { name: name.to_owned() });
    let start = Instant::now();
    let value = Box::pin(part).await?;
    context.events.emit(Event::PhaseFinished { name: name.to_owned(), elapsed: start.elapsed() });
    Ok(value)
}

/// Leaves the bastion as told, unless somebody else uses it: the last one puts it away.
async fn put_away(
    context: &Context,
    args: &xtask::Release,
    cloud: &Cloud,
    inventory: Inventory,
    found: Found,
    release: &mut Release,
) -> Result<(), Failure> {
    let after = match (args.bastion, found) {
        (BastionAfter::AsFound, Found::Absent) => BastionAfter::Destroy,
        (BastionAfter::AsFound, Found::Stopped) => BastionAfter::Stop,
        (BastionAfter::AsFound, Found::Running) => BastionAfter::Keep,
        (told, _) => told,
    };
    let (Some(bastion), true) = (inventory.bastion(), after != BastionAfter::Keep) else {
        release.bastion.push("kept");
        return Ok(());
    };
    let is_used = async || {
        let others = connected::find(cloud, std::iter::once(bastion)).await?;
        if !others.is_empty() {
            context.view.say_lines(&connected::render(&others));
        }
        Ok::<bool, Failure>(!others.is_empty())
    };
    if is_used().await? {
        release.bastion.push("left to others");
        return Ok(());
    }
    let word = if after == BastionAfter::Destroy {
        let seen = stack::plan::down(&context.stack, &inventory, &[Component::Bastion]);
        let work = async |inventory: Inventory| {
            let plan = stack::plan::down(&context.stack, &inventory, &[Component::Bastion]);
            // Another run may have made a new one meanwhile, or somebody has connected.
            if !plan.surprises(&seen).is_empty() || is_used().await? {
                return Ok("left to others");
            }
            let options = ApplyOptions::default();
            let applied = apply(context, cloud, &plan, inventory, &options);
            Box::pin(applied).await.map(|_| "destroyed")
        };
        let freshness = Freshness::UnlessLocked;
        Box::pin(stack_lock::change(context, cloud, ("release", freshness), inventory.clone(), work)).await?
    } else {
        Box::pin(aws::bastion::stop(cloud, &bastion.id, &context.events, &context.stop)).await?;
        "stopped"
    };
    if word == "left to others" {
        release.bastion.push(word);
        return Ok(());
    }
    context.shutdown.set_closing_note(None);
    release.bastion.push(word);
    Ok(())
}
