//! `tenant drop`: a dump, and the end of a tenant's database, role and secret.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use aws::Cloud;
use db::tenant::{DropSpec, Dropped, RoleEnd};
use db::{Login, Server};
use serde_json::json;
use stack::spec::Tenant;

use crate::bridge::{self, Bridge};
use crate::context::Context;
use crate::dump::Programs;
use crate::failure::{Exit, Failure};
use crate::task::tenant;
use crate::text::{Text, put_line};
use crate::{confirm, registry, view};

/// Looks, asks for the tenant's name, dumps, drops.
pub async fn run(context: &Context, args: &xtask::TenantDrop) -> Result<ExitCode, Failure> {
    if registry::is_complete(context) {
        tenant::known(context, &args.tenant)?;
    }
    let programs = if args.no_dump { None } else { Some(Programs::find().await?) };
    let (cloud, inventory) = context.reach().await?;
    let master = bridge::master(context, &cloud).await?;
    let bridge = Box::pin(Bridge::to_database(context, &cloud, &inventory)).await?;
    let work = async |bridge: &Arc<Bridge>| {
        let server = bridge.server(context)?;
        Box::pin(work(context, args, programs.as_ref(), &cloud, (bridge, &server, &master))).await
    };
    Box::pin(bridge.during(work)).await.map(|()| ExitCode::SUCCESS)
}

async fn work(
    context: &Context,
    args: &xtask::TenantDrop,
    programs: Option<&Programs>,
    cloud: &Cloud,
    (bridge, server, master): (&Arc<Bridge>, &Server, &Login),
) -> Result<(), Failure> {
    let context = &*registry::complete(context, cloud, server).await?;
    let tenant = tenant::known(context, &args.tenant)?;
    // It goes with its role: somebody else's says that this file has another stack's names.
    let secret = BTreeSet::from([context.stack.role_secret_name(&tenant.owner)]);
    Box::pin(aws::secret::check_all(cloud, &context.stack, &secret)).await?;
    let survey = db::tenant::survey(server, master, &tenant.name).await?;
    if !args.force {
        survey.check_unused(&tenant.name).map_err(|error| {
            Failure::from(error).hint("end those sessions, or add `--force`: they lose their connections")
        })?;
    }
    // A run that was cut off may have dropped it already.
    let programs = programs.filter(|_| survey.database.is_some());
    if let Some(programs) = programs {
        programs.check(survey.version)?;
    }
    let copy = if programs.is_some() { "a dump is taken first" } else { "no dump is taken" };
    let question = format!("this drops the database of tenant `{}` with all its data; {copy}", tenant.name);
    confirm::typed(context, &question, &tenant.name, args.name.as_deref())?;
    let now = db::tenant::survey(server, master, &tenant.name).await?;
    if survey.database.is_none() && now.database.is_some() {
        let text = format!(
            "the database of tenant `{}` was not there when the question was asked, and is now; nothing was dropped",
            tenant.name
        );
        return Err(Failure::new(Exit::Drift, anyhow::Error::msg(text)).hint("run the same again"));
    }

    let mut dump = None;
    if let Some(programs) = programs {
        let login = bridge::owner(context, cloud, tenant).await?;
        let file = args.dump.clone().map_or_else(|| default_file(tenant), Ok)?;
        context.view.say(format!("dumping `{}` to `{}`", tenant.name, file.display()));
        let bytes = programs.dump(context, bridge, &login, survey.version, &file).await?;
        dump = Some((file, bytes));
    }
    context.check_interrupted()?;
    let what = DropSpec {
        tenant: tenant.name.clone(),
        owner: tenant.owner.clone(),
        shared_with: others(context, tenant),
        force: args.force,
    };
    let dropped = db::tenant::drop(server, master, &what, &context.events).await?;
    // Without its role a password opens nothing.
    let secret = match dropped.role {
        RoleEnd::Dropped | RoleEnd::Absent => {
            aws::secret::destroy_role_secret(cloud, &context.stack, &tenant.owner).await
        }
        RoleEnd::Kept { .. } => Ok(false),
    };
    // What was dropped is told, whatever became of the secret.
    let is_deleted = secret.as_ref().is_ok_and(|deleted| *deleted);
    let dump = dump.as_ref().map(|(file, bytes)| (file.as_path(), *bytes));
    tell(context, tenant, dump, &dropped, is_deleted)?;
    secret.map(drop).map_err(|error| {
        Failure::from(error).hint(format!(
            "run `cargo xtask tenant drop {}` again: it deletes the secret, which is all that is left",
            tenant.name
        ))
    })
}

/// Returns the other tenants that have the same role.
fn others(context: &Context, tenant: &Tenant) -> Vec<String> {
    let others = context.stack.tenants.iter().filter(|other| other.owner == tenant.owner);
    others.map(|other| other.name.clone()).filter(|name| *name != tenant.name).collect()
}

fn default_file(tenant: &Tenant) -> Result<PathBuf, Failure> {
    let now = jiff::Timestamp::now().round(jiff::Unit::Second).map_err(anyhow::Error::from)?;
    let now: String = now.to_string().chars().filter(|c| c.is_ascii_alphanumeric()).collect();
    Ok(PathBuf::from(format!("{}-{now}.dump", tenant.name)))
}

/// Prints the receipt.
fn tell(
    context: &Context,
    tenant: &Tenant,
    dump: Option<(&Path, u64)>,
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
    if let Some((file, bytes)) = dump {
        put_line!(text, "dump: `{}`, {bytes} bytes", file.display());
    }
    put_line!(text, "role `{}`: {role}", tenant.owner);
    put_line!(text, "its secret: {}", if secret { "deleted" } else { "left as it is" });
    context.view.say("take it out of where tenants are written, or `tenant create` makes it anew");
    let document = json!({
        "tenant": tenant.name,
        "database": { "dropped": dropped.database },
        "dump": dump.map(|(file, bytes)| json!({ "file": file.display().to_string(), "bytes": bytes })),
        "role": { "name": tenant.owner, "outcome": dropped.role },
        "secret": { "name": context.stack.role_secret_name(&tenant.owner), "deleted": secret },
    });
    view::result(context.json, &text, &document)?;
    Ok(())
}
