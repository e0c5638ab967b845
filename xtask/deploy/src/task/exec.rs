//! `exec`: runs a command with a tunnel open.

use std::process::{ExitCode, ExitStatus};
use std::sync::Arc;

use aws::Cloud;
use db::Login;

use crate::bridge::{self, Bridge};
use crate::child::Program;
use crate::context::Context;
use crate::db_task::{self, DbTask};
use crate::failure::{Exit, Failure};
use crate::listener::{Admits, Local, Want};
use crate::reach::reach;
use crate::{client, tenants};

/// Runs the command with the PG* variables set and passes on its exit code.
pub async fn run(context: &Context, args: &xtask::Exec) -> Result<ExitCode, Failure> {
    let (program, rest) = args.command.split_first().ok_or_else(|| Failure::usage("no command to run"))?;
    let mut program = Program::new(program);
    program.args(rest);
    let admits = if args.any_user { Admits::Anybody } else { Admits::Owner };
    let want = if args.socket { Want::Socket(None) } else { Want::Port(0, admits) };
    with_tunnel(context, args.tenant.as_deref(), program, &want).await
}

/// Opens the tunnel, runs the command, closes the tunnel, passes on the exit code.
///
/// # Errors
/// No such tenant (exit 2), no tunnel (5), or the command cannot be started (1).
pub async fn with_tunnel(
    context: &Context,
    tenant_name: Option<&str>,
    program: Program,
    want: &Want,
) -> Result<ExitCode, Failure> {
    // A query's tenants are known only through the tunnel.
    let is_listed = tenant_name.is_some() && !tenants::is_complete(context);
    if !is_listed {
        tenant_name.map(|name| tenants::known(context, name)).transpose()?;
    }
    let local = Local::open(want).await?;
    let (cloud, inventory) = reach(context).await?;
    let early = if is_listed { None } else { Some(login(context, &cloud, tenant_name).await?) };
    let work = async |task: DbTask<'_>, bridge: &Arc<Bridge>| {
        let login = match early {
            Some(login) => login,
            // The stack file's query has to list the tenants first.
            None => {
                let context = Box::pin(tenants::complete(task)).await?;
                Box::pin(login(&context, task.cloud, tenant_name)).await?
            }
        };
        client::run(context, bridge, &login, &local, program).await
    };
    Ok(exit_code(db_task::run(context, &cloud, &inventory, work).await?))
}

/// Returns the login of the tenant, or of the master user if none is named.
async fn login(context: &Context, cloud: &Cloud, tenant_name: Option<&str>) -> Result<Login, Failure> {
    match tenant_name {
        Some(name) => bridge::owner(context, cloud, tenants::known(context, name)?).await,
        None => bridge::master(context, cloud).await,
    }
}

/// Returns the command's exit code, or 128 and the signal's number as shells do.
fn exit_code(status: ExitStatus) -> ExitCode {
    use std::os::unix::process::ExitStatusExt;
    let code =
        status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(Exit::Failure as i32);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
