//! `exec`: runs a command with a tunnel open.

use std::io;
use std::process::{ExitCode, ExitStatus};
use std::sync::Arc;

use aws::Cloud;
use db::Login;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Child;

use crate::bridge::{self, Bridge};
use crate::child::{Libpq, Program, Way};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::listener::{self, Admits, Local, Want, Wrap};
use crate::task::tenant;
use crate::{registry, screen};

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
    let is_listed = tenant_name.is_some() && !registry::is_complete(context);
    if !is_listed {
        tenant_name.map(|name| tenant::known(context, name)).transpose()?;
    }
    let local = Local::open(want).await?;
    let (cloud, inventory) = context.reach().await?;
    let early = if is_listed { None } else { Some(login(context, &cloud, tenant_name).await?) };
    let bridge = Box::pin(Bridge::to_database(context, &cloud, &inventory)).await?;
    let work = async |bridge: &Arc<Bridge>| {
        let login = match early {
            Some(login) => login,
            None => Box::pin(listed(context, &cloud, bridge, tenant_name)).await?,
        };
        run_on(context, bridge, &login, &local, program).await
    };
    Ok(exit_code(Box::pin(bridge.during(work)).await?))
}

/// Runs the command with a local end of an open tunnel and the PG* variables set, to its end.
///
/// # Errors
/// The command cannot be started (1).
pub async fn run_on(
    context: &Context,
    bridge: &Arc<Bridge>,
    login: &Login,
    local: &Local,
    mut program: Program,
) -> Result<ExitStatus, Failure> {
    let way = match local {
        Local::Port(listener, _) => {
            let port = listener.local_addr()?.port();
            Way::Port { port, host: bridge.host.clone(), roots: context.access.ca_path() }
        }
        Local::Socket(socket) => Way::Socket { dir: socket.dir().to_owned(), port: listener::SOCKET_PORT },
    };
    program.connect(&Libpq { login, way });
    let wrap = Wrap::PostgreSql(listener::tls(context.access.roots()?)?);
    let lent = screen::lend();
    // Ctrl-C is the command's, from its first moment on: psql cancels a query with it. It has it from the terminal already.
    let foreground = context.ending.leave_interrupts();
    let mut child = program.spawn().await?;
    let status = tokio::select! {
        status = wait(context, &mut child) => status?,
        never = listener::serve(local, bridge, &wrap, &context.view) => match never {},
    };
    drop(foreground);
    drop(lent);
    Ok(status)
}

/// Returns the login of the tenant, or of the master user if none is named.
async fn login(context: &Context, cloud: &Cloud, tenant_name: Option<&str>) -> Result<Login, Failure> {
    match tenant_name {
        Some(name) => bridge::owner(context, cloud, tenant::known(context, name)?).await,
        None => bridge::master(context, cloud).await,
    }
}

/// Returns the same once the stack file's query has listed the tenants.
async fn listed(
    context: &Context,
    cloud: &Cloud,
    bridge: &Bridge,
    tenant_name: Option<&str>,
) -> Result<Login, Failure> {
    let context = registry::complete(context, cloud, &bridge.server(context)?).await?;
    login(&context, cloud, tenant_name).await
}

/// Waits for the command, and hands on that this program was told to end.
async fn wait(context: &Context, child: &mut Child) -> io::Result<ExitStatus> {
    tokio::select! {
        status = child.wait() => return status,
        () = context.stop.raised() => (),
    }
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        // If it has ended meanwhile, that is what was wanted.
        kill(Pid::from_raw(pid), Signal::SIGTERM).ok();
    }
    child.wait().await
}

/// Returns the command's exit code, or 128 and the signal's number as shells do.
fn exit_code(status: ExitStatus) -> ExitCode {
    use std::os::unix::process::ExitStatusExt;
    let code =
        status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(Exit::Failure as i32);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
