//! `tenant drop`: dumps a tenant's database, then drops it with its role and secret.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use aws::Cloud;
use db::Login;
use db::tenant::{Claim, DropSpec, Dropped, RoleEnd, Survey};
use serde_json::json;
use stack::spec::Tenant;

use crate::bridge::{self, Bridge};
use crate::context::Context;
use crate::db_task::{self, DbTask};
use crate::dump::{Dump, Programs};
use crate::failure::{Exit, Failure};
use crate::file::Unfinished;
use crate::leftover::{self, Leftover};
use crate::reach::reach;
use crate::text::{Text, put_line};
use crate::{confirm, tenants, view};

/// Looks at the database, asks for the tenant's name, dumps, and drops.
pub(super) async fn run(context: &Context, args: &xtask::TenantDrop) -> Result<ExitCode, Failure> {
    if tenants::is_complete(context) {
        tenants::known(context, &args.tenant)?;
    }
    let programs = if args.no_dump { None } else { Some(Programs::find().await?) };
    let (cloud, inventory) = reach(context).await?;
    let master = bridge::master(context, &cloud).await?;
    let work = async |task: DbTask<'_>, bridge: &Arc<Bridge>| {
        work(task, args, programs.as_ref(), bridge, &master).await
    };
    db_task::run(context, &cloud, &inventory, work).await.map(|()| ExitCode::SUCCESS)
}

async fn work(
    task: DbTask<'_>,
    args: &xtask::TenantDrop,
    programs: Option<&Programs>,
    bridge: &Arc<Bridge>,
    master: &Login,
) -> Result<(), Failure> {
    let context = &*tenants::complete(task).await?;
    let DbTask { cloud, server, .. } = task;
    let tenant = tenants::known(context, &args.tenant)?;
    // The secret goes with its role. If it is another stack's, this stack file has the wrong names.
    let secret = BTreeSet::from([context.stack.role_secret_name(&tenant.owner)]);
    Box::pin(aws::secret::check_all(cloud, &context.stack, &secret)).await?;
    let survey = db::tenant::survey(server, master, &tenant.name).await?;
    if !args.force {
        survey.check_unused(&tenant.name).map_err(in_use)?;
    }
    // An interrupted run may have dropped the database already.
    let programs = programs.filter(|_| is_whole(&survey));
    if let Some(programs) = programs {
        programs.check(survey.version)?;
    }
    let copy = match &survey.database {
        Some(info) if info.is_half_dropped => {
            "the server was cut off while it dropped it, so that no dump can be taken"
        }
        _ if programs.is_some() => "a dump is taken first",
        _ => "no dump is taken",
    };
    let question = format!("this drops the database of tenant `{}` with all its data; {copy}", tenant.name);
    confirm::typed(context, &question, &tenant.name, args.name.as_deref())?;

    let what = DropSpec {
        tenant: tenant.name.clone(),
        owner: tenant.owner.clone(),
        shared_with: others(context, tenant),
        force: args.force,
    };
    let claim = db::tenant::claim(server, master, &what, &context.events).await?;
    let dropping = Dropping { context, args, cloud, tenant, bridge };
    let ended = Box::pin(dropping.end(programs, &survey, &claim)).await;
    claim.close().await;
    let (dump, dropped) = ended?;
    let dump = dump.map(|(dump, _)| dump);
    // Without the role its password is useless.
    let secret = match dropped.role {
        RoleEnd::Dropped | RoleEnd::Absent => {
            aws::secret::destroy_role_secret(cloud, &context.stack, &tenant.owner).await
        }
        RoleEnd::Kept { .. } => Ok(false),
    };
    // The receipt is printed even if the secret could not be deleted.
    let is_deleted = secret.as_ref().is_ok_and(|deleted| *deleted);
    forget_cut_off_dumps(context, tenant, args.dump.as_deref());
    tell(context, tenant, dump.as_ref(), &dropped, is_deleted)?;
    secret.map(drop).map_err(|error| {
        Failure::from(error).hint(format!(
            "run `cargo xtask tenant drop {}` again: it deletes the secret, which is all that is left",
            tenant.name
        ))
    })
}

/// A drop that was confirmed.
struct Dropping<'a> {
    context: &'a Context,
    args: &'a xtask::TenantDrop,
    cloud: &'a Cloud,
    tenant: &'a Tenant,
    /// The tunnel that the dump takes.
    bridge: &'a Arc<Bridge>,
}

impl Dropping<'_> {
    /// Dumps and drops under the tenant's locks. Less may exist than before, if an interrupted run has finished meanwhile.
    async fn end(
        &self,
        programs: Option<&Programs>,
        before: &Survey,
        claim: &Claim<'_>,
    ) -> Result<(Option<(Dump, Unfinished)>, Dropped), Failure> {
        let Dropping { context, args, cloud, tenant, bridge } = self;
        let now = claim.survey().await?;
        if !is_whole(before) && is_whole(&now) {
            let text = format!(
                "the database of tenant `{}` was not there when the question was asked, and is now; nothing was dropped",
                tenant.name
            );
            return Err(Failure::new(Exit::Drift, anyhow::Error::msg(text)).hint("run the same again"));
        }
        if !args.force {
            now.check_unused(&tenant.name).map_err(in_use)?;
        }
        let mut dump = None;
        if let Some(programs) = programs.filter(|_| is_whole(&now)) {
            let login = bridge::owner(context, cloud, tenant).await?;
            let file = free_name(context, tenant, args.dump.as_deref())?;
            context.view.say(format!("dumping `{}` to `{}`", tenant.name, file.display()));
            dump = Some(programs.dump(context, bridge, &login, now.version, &file).await?);
        }
        context.check_interrupted()?;
        Ok((dump, claim.carry_out().await?))
    }
}

/// Tells whether the database exists and takes connections.
fn is_whole(survey: &Survey) -> bool {
    survey.database.as_ref().is_some_and(|info| !info.is_half_dropped)
}

fn in_use(error: db::Error) -> Failure {
    Failure::from(error).hint("end those sessions, or add `--force`: they lose their connections")
}

/// Returns the other tenants that have the same role.
fn others(context: &Context, tenant: &Tenant) -> Vec<String> {
    let others = context.stack.tenants.iter().filter(|other| other.owner == tenant.owner);
    others.map(|other| other.name.clone()).filter(|name| *name != tenant.name).collect()
}

/// Returns the file for the dump. The unfinished dump of a killed run is removed. A whole one stays, and the new dump gets
/// another name.
fn free_name(context: &Context, tenant: &Tenant, told: Option<&Path>) -> Result<PathBuf, Failure> {
    let file = told.map_or_else(|| default_file(tenant), |file| Ok(file.to_owned()))?;
    let mut is_taken = false;
    for left in leftovers(tenant, told) {
        if left.is_whole {
            is_taken |= left.path == file;
            let shown = left.path.display();
            context.view.say(format!("`{shown}` is the whole dump of a drop that was cut off; it stays"));
        } else if left.remove().is_ok() {
            let (shown, bytes) = (left.part.display(), left.bytes);
            context
                .view
                .say(format!("removed `{shown}`, {bytes} bytes: half a dump of a drop that was cut off"));
        }
    }
    if !is_taken {
        return Ok(file);
    }
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let numbered = |number: u32| match file.extension() {
        Some(extension) => file.with_file_name(format!("{stem}-{number}.{}", extension.to_string_lossy())),
        None => file.with_file_name(format!("{stem}-{number}")),
    };
    let free = (2..).map(numbered).find(|file| !file.try_exists().is_ok_and(|is_there| is_there));
    Ok(free.expect("invariant: no folder has so many files"))
}

/// Removes the marks of interrupted dumps: after the drop there is nothing left to resume.
fn forget_cut_off_dumps(context: &Context, tenant: &Tenant, told: Option<&Path>) {
    for left in leftovers(tenant, told) {
        if let Err(error) = left.remove() {
            context.events.warn(format!("cannot remove `{}`: {error}", left.part.display()));
        }
    }
}

/// Returns the dumps of this tenant that killed runs left in the dump's folder.
fn leftovers(tenant: &Tenant, told: Option<&Path>) -> Vec<Leftover> {
    let wanted = told.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    let folder = told.and_then(Path::parent).unwrap_or(Path::new(""));
    let is_of_time = |name: &str| {
        let time =
            name.strip_prefix(&format!("{}-", tenant.name)).and_then(|rest| rest.strip_suffix(".dump"));
        time.is_some_and(|time| {
            time.len() == TIME.len() && time.chars().all(|c| c.is_ascii_digit() || "TZ".contains(c))
        })
    };
    leftover::find(folder, |name| wanted.as_deref().map_or_else(|| is_of_time(name), |wanted| name == wanted))
}

/// The form of the time in a dump's name.
const TIME: &str = "20261130T183000Z";

fn default_file(tenant: &Tenant) -> Result<PathBuf, Failure> {
    let now = jiff::Timestamp::now().round(jiff::Unit::Second).map_err(anyhow::Error::from)?;
    let now: String = now.to_string().chars().filter(|c| c.is_ascii_alphanumeric()).collect();
    Ok(PathBuf::from(format!("{}-{now}.dump", tenant.name)))
}

/// Prints the receipt.
fn tell(
    context: &Context,
    tenant: &Tenant,
    dump: Option<&Dump>,
    dropped: &Dropped,
    secret: bool,
) -> Result<(), Failure> {
    let database = if dropped.database { "dropped" } else { "was gone already" };
    let role = match &dropped.role {
        RoleEnd::Dropped => "dropped".to_owned(),
        RoleEnd::Absent => "was gone already".to_owned(),
        RoleEnd::Kept { reason } => format!("kept: {reason}"),
    };
    let mut text = Text::of(format_args!("database `{}`: {database}", tenant.name));
    if let Some(Dump { file, bytes, sha256, tables }) = dump {
        let file = file.display();
        put_line!(text, "dump: `{file}`, {bytes} bytes, {tables} tables, SHA-256 {sha256}");
    }
    put_line!(text, "role `{}`: {role}", tenant.owner);
    put_line!(text, "its secret: {}", if secret { "deleted" } else { "left as it is" });
    context.view.say("take it out of where tenants are written, or `tenant create` makes it anew");
    let document = json!({
        "tenant": tenant.name,
        "database": { "dropped": dropped.database },
        "dump": dump,
        "role": { "name": tenant.owner, "outcome": dropped.role },
        "secret": { "name": context.stack.role_secret_name(&tenant.owner), "deleted": secret },
    });
    view::result(context.json, &text, &document)?;
    Ok(())
}
