//! `tenant list|create|verify`.

use std::collections::{BTreeSet, HashMap};
use std::process::ExitCode;
use std::sync::Arc;

use aws::Cloud;
use aws::secret::Credentials;
use db::migrate::Stop;
use db::tenant::{Check, Created, Outcome, TenantInfo, TenantSpec, Verdict, Verification};
use db::{Login, Server};
use serde_json::json;
use stack::spec::Tenant;

use crate::bridge::{self, Bridge};
use crate::context::Context;
use crate::disk::{self, Work};
use crate::failure::{Exit, Failure};
use crate::text::{Text, put_line};
use crate::{registry, table, view};

mod spec;

pub(super) use spec::is_shut_out;
use spec::spec;
pub use spec::specs;

/// Runs one of the tenants' tasks.
pub async fn run(context: &Context, task: &xtask::Tenant) -> Result<ExitCode, Failure> {
    if let xtask::Tenant::Drop(args) = task {
        return Box::pin(super::drop::run(context, args)).await;
    }
    if registry::is_complete(context) {
        // A misspelt name is told before anything is contacted.
        named(context, task)?;
    }
    let (cloud, inventory) = context.reach().await?;
    // A new secret says where the database is.
    let stack = Arc::new(stack::plan::at_its_port(&context.stack, &inventory).into_owned());
    let context = &Context { stack, ..context.clone() };
    let master = bridge::master(context, &cloud).await?;
    let bridge = Box::pin(Bridge::to_database(context, &cloud, &inventory)).await?;
    let work = async |bridge: &Arc<Bridge>| {
        let server = bridge.server(context)?;
        if let xtask::Tenant::Create(args) = task {
            let allow_full = args.allow_full_disk.into();
            disk::check(context, (&cloud, &server), &inventory, Work::Databases, allow_full).await?;
        }
        Box::pin(work(context, task, &cloud, &server, &master)).await
    };
    Box::pin(bridge.during(work)).await.map(|()| ExitCode::SUCCESS)
}

async fn work(
    context: &Context,
    task: &xtask::Tenant,
    cloud: &Cloud,
    server: &Server,
    master: &Login,
) -> Result<(), Failure> {
    let context = &*registry::complete(context, cloud, server).await?;
    let chosen = named(context, task)?;
    match task {
        xtask::Tenant::List | xtask::Tenant::Drop(_) => list(context, server, master).await,
        xtask::Tenant::Create(_) => {
            show_created(context, &create(context, cloud, server, master, &chosen).await?)
        }
        xtask::Tenant::Verify(_) => verify(context, cloud, server, master, &chosen).await.map(drop),
    }
}

/// Returns the tenants that the task is about.
fn named(context: &Context, task: &xtask::Tenant) -> Result<Vec<Tenant>, Failure> {
    match task {
        xtask::Tenant::List | xtask::Tenant::Drop(_) => Ok(Vec::new()),
        xtask::Tenant::Create(args) => chosen(context, &args.tenants.tenants),
        xtask::Tenant::Verify(args) => chosen(context, &args.tenants),
    }
}

/// Returns the tenants that the command line names, or all of the stack file.
///
/// # Errors
/// Exit 2 for a name that the stack file does not know.
pub fn chosen(context: &Context, names: &[String]) -> Result<Vec<Tenant>, Failure> {
    if names.is_empty() {
        if context.stack.tenants.is_empty() {
            return Err(
                Failure::usage("the stack file has no tenant").hint("add a `[[tenant]]` with a name to it")
            );
        }
        return Ok(context.stack.tenants.clone());
    }
    names.iter().map(|name| known(context, name).cloned()).collect()
}

/// Returns the tenant of that name.
///
/// # Errors
/// Exit 2 if the stack file does not know it.
pub fn known<'a>(context: &'a Context, name: &str) -> Result<&'a Tenant, Failure> {
    context.stack.tenant(name).ok_or_else(|| {
        let known: Vec<&str> = context.stack.tenants.iter().map(|tenant| tenant.name.as_str()).collect();
        let shown: String = name.escape_debug().take(80).collect();
        Failure::usage(format!(
            "there is no tenant `{shown}` in the stack file; there are: {}",
            known.join(", ")
        ))
    })
}

async fn list(context: &Context, server: &Server, master: &Login) -> Result<(), Failure> {
    let there = db::tenant::list(server, master).await?;
    let mut rows: Vec<Vec<String>> = there.iter().map(|info| row(context, info)).collect();
    for tenant in &context.stack.tenants {
        if !there.iter().any(|info| info.name == tenant.name) {
            rows.push(vec![
                tenant.name.clone(),
                tenant.owner.clone(),
                String::new(),
                String::new(),
                "missing".to_owned(),
            ]);
        }
    }
    let text = table::render(&["database", "owner", "encoding", "collation", "state"], &rows);
    view::result(context.json, &text, &json!({ "databases": there, "tenants": context.stack.tenants }))?;
    Ok(())
}

fn row(context: &Context, info: &TenantInfo) -> Vec<String> {
    let state = match context.stack.tenant(&info.name) {
        _ if info.is_half_dropped => "half dropped",
        None => "not in the stack file",
        Some(_) if info.public_can_connect => "open to every role",
        Some(_) => "ready",
    };
    vec![
        info.name.clone(),
        info.owner.clone(),
        info.encoding.clone(),
        info.collation.clone(),
        state.to_owned(),
    ]
}

/// Creates what is missing.
///
/// # Errors
/// What concerns all tenants; a tenant's own failure is in its outcome.
pub async fn create(
    context: &Context,
    cloud: &Cloud,
    server: &Server,
    master: &Login,
    tenants: &[Tenant],
) -> Result<Vec<Created>, Failure> {
    let roles: BTreeSet<String> = tenants.iter().map(|tenant| tenant.owner.clone()).collect();
    let names = roles.iter().map(|role| context.stack.role_secret_name(role)).collect();
    // Before the first is made: a name that leads to another stack's secret is a mistake in the stack file.
    Box::pin(aws::secret::check_all(cloud, &context.stack, &names)).await?;
    let made = aws::secret::ensure_all(cloud, &context.stack, &roles, &context.stop, &context.events).await;
    context.check_interrupted()?;
    let is_denied = |one: &Result<Credentials, aws::Error>| {
        one.as_ref().is_err_and(|error| error.kind() == aws::Kind::Credentials)
    };
    let nobody_may = made.values().all(is_denied);
    let (mut found, mut reasons) = (HashMap::new(), HashMap::new());
    for (role, one) in made {
        let Some(tenant) = tenants.iter().find(|tenant| tenant.owner == role) else { continue };
        match one {
            Ok(credentials) => drop(found.insert(role, credentials)),
            // Credentials that have expired are nobody's in particular.
            Err(error) if nobody_may => return Err(error.into()),
            Err(error) => drop(reasons.insert(role, one_line(bridge::no_secret(tenant, error)))),
        }
    }
    let mut specs = Vec::new();
    let mut without = HashMap::new();
    for tenant in tenants {
        if let Some(credentials) = found.get(&tenant.owner) {
            specs.push(spec(tenant, credentials.clone()));
        } else if let Some(reason) = reasons.get(&tenant.owner) {
            without.insert(tenant.name.as_str(), refused(context, tenant, reason.clone()));
        }
    }
    let stop = Stop::new();
    let forwarding = super::migrate::forward(context, &stop);
    let created = async {
        let mut created = db::tenant::create_until(server, master, &specs, &stop, &context.events).await?;
        let moved = rotated_meanwhile(context, cloud, &specs, &created).await;
        match db::tenant::create_until(server, master, &moved, &stop, &context.events).await {
            Ok(again) => replace(&mut created, again),
            // What was created is told all the same.
            Err(error) => context.events.warn(format!(
                "whether a password was rotated meanwhile is not known, the same again looks at it: {}",
                error.chain()
            )),
        }
        Ok::<_, Failure>(created)
    };
    let together = context.view.together("tenants", "tenant ", specs.len());
    let created = created.await;
    drop(together);
    forwarding.abort();
    let mut created = created?.into_iter().peekable();
    let in_order = |tenant: &Tenant| {
        without.remove(tenant.name.as_str()).or_else(|| created.next_if(|one| one.tenant == tenant.name))
    };
    Ok(tenants.iter().filter_map(in_order).collect())
}

fn replace(created: &mut [Created], again: Vec<Created>) {
    for again in again {
        if let Some(one) = created.iter_mut().find(|one| one.tenant == again.tenant) {
            *one = again;
        }
    }
}

/// Returns what becomes of a tenant whose role's secret cannot be had.
fn refused(context: &Context, tenant: &Tenant, reason: String) -> Created {
    let error = db::Error::NoLogin { tenant: tenant.name.clone(), reason };
    let subject = format!("tenant {}", tenant.name);
    context.events.emit(stack::Event::StepFailed { subject, error: error.chain() });
    Created { tenant: tenant.name.clone(), outcome: Outcome::Failed(error), findings: Vec::new() }
}

/// Returns the tenants whose role was given back a password that a rotation has replaced after it was read here.
async fn rotated_meanwhile(
    context: &Context,
    cloud: &Cloud,
    specs: &[TenantSpec],
    created: &[Created],
) -> Vec<TenantSpec> {
    let mut moved = Vec::new();
    for (spec, one) in specs.iter().zip(created) {
        if matches!(one.outcome, Outcome::Repaired(_)) {
            let name = context.stack.role_secret_name(&spec.owner);
            let now = match aws::secret::find_credentials(cloud, &context.stack, &name).await {
                Ok(now) => now.filter(|now| now.password != spec.password),
                // It was set as it was read; the others are looked at all the same.
                Err(error) => {
                    let why = Failure::from(error).chain();
                    context.events.warn(format!(
                        "whether the password of `{}` was rotated meanwhile cannot be seen: {why}",
                        spec.owner
                    ));
                    None
                }
            };
            let tenant = context.stack.tenant(&spec.name);
            moved.extend(tenant.zip(now).map(|(tenant, now)| self::spec(tenant, now)));
        }
    }
    moved
}

/// Prints what became of each tenant.
fn show_created(context: &Context, created: &[Created]) -> Result<(), Failure> {
    let rows: Vec<Vec<String>> = created
        .iter()
        .map(|one| {
            let state = match &one.outcome {
                Outcome::Created => "created".to_owned(),
                Outcome::Unchanged => "unchanged".to_owned(),
                Outcome::Repaired(what) => format!("repaired: {}", what.join(", ")),
                Outcome::Failed(error) => format!("failed: {}", error.chain()),
                Outcome::NotStarted => "not started: the run was interrupted".to_owned(),
            };
            vec![one.tenant.clone(), state, one.findings.join("; ")]
        })
        .collect();
    view::result(
        context.json,
        &table::render(&["tenant", "outcome", ""], &rows),
        &json!({ "tenants": created }),
    )?;
    judge_created(created)
}

/// Tells whether every tenant is as it should be.
///
/// # Errors
/// Exit 6 or 7 if all or some tenants failed, 8 if one differs in what is not mended behind anybody's back, 130 if the run
/// was interrupted.
pub fn judge_created(created: &[Created]) -> Result<(), Failure> {
    if created.iter().any(|one| matches!(one.outcome, Outcome::NotStarted)) {
        return Err(Failure::new(
            Exit::Interrupted,
            anyhow::Error::msg("interrupted while creating tenants"),
        )
        .hint("run the same again: what is there already stays as it is"));
    }
    let failed = created.iter().filter(|one| matches!(one.outcome, Outcome::Failed(_))).count();
    verdict(failed, created.len())?;
    if created.iter().any(|one| !one.findings.is_empty()) {
        return Err(Failure::told(Exit::Drift));
    }
    Ok(())
}

/// Verifies and prints every check.
///
/// # Errors
/// Exit 6 or 7 if all or some tenants failed.
pub async fn verify(
    context: &Context,
    cloud: &Cloud,
    server: &Server,
    master: &Login,
    tenants: &[Tenant],
) -> Result<Vec<Verification>, Failure> {
    let verifications = look(context, cloud, server, master, tenants).await?;
    let mut text = Text::new();
    for one in &verifications {
        put_line!(text, "{}: {}", one.tenant, one.verdict());
        for check in &one.checks {
            put_line!(text, "  {:<7} {}: {}", check.verdict.to_string(), check.name, check.evidence);
        }
    }
    view::result(context.json, &text, &json!({ "tenants": verifications }))?;
    judge_verified(&verifications)?;
    Ok(verifications)
}

/// Verifies.
///
/// # Errors
/// What concerns all tenants; a tenant's own failure is in its checks.
pub(super) async fn look(
    context: &Context,
    cloud: &Cloud,
    server: &Server,
    master: &Login,
    tenants: &[Tenant],
) -> Result<Vec<Verification>, Failure> {
    let mut ready = Vec::new();
    let mut refused = HashMap::new();
    for (tenant, spec) in tenants.iter().zip(specs(context, cloud, tenants).await?) {
        match spec {
            Ok(spec) => ready.push(spec),
            Err(failure) => drop(refused.insert(tenant.name.as_str(), one_line(failure))),
        }
    }
    let mut verified = db::tenant::verify(server, master, &ready).await?.into_iter().peekable();
    let in_order = |tenant: &Tenant| match refused.remove(tenant.name.as_str()) {
        Some(evidence) => {
            let check = Check { name: "secret", verdict: Verdict::Fail, evidence };
            Some(Verification { tenant: tenant.name.clone(), checks: vec![check] })
        }
        None => verified.next_if(|one| one.tenant == tenant.name),
    };
    Ok(tenants.iter().filter_map(in_order).collect())
}

/// Tells whether every tenant was proved to be as it should be.
///
/// # Errors
/// Exit 6 or 7 if all or some were not.
pub(super) fn judge_verified(verifications: &[Verification]) -> Result<(), Failure> {
    // What could not be proved is not proved.
    let failed = verifications.iter().filter(|one| one.verdict() != Verdict::Pass).count();
    verdict(failed, verifications.len())
}

/// Returns what a failure says and what to do about it, for a line of a table.
pub(super) fn one_line(failure: Failure) -> String {
    std::iter::once(failure.chain()).chain(failure.hints).collect::<Vec<_>>().join("; ")
}

/// Turns a count of failed tenants into the documented exit codes.
///
/// # Errors
/// Exit 6 if all failed, 7 if some did.
pub fn verdict(failed: usize, all: usize) -> Result<(), Failure> {
    match failed {
        0 => Ok(()),
        _ if failed == all => Err(Failure::told(Exit::AllTenants)),
        _ => Err(Failure::told(Exit::SomeTenants)),
    }
}
