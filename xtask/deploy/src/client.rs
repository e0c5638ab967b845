//! Runs a client program, such as psql or pg_dump, through an open tunnel.

use std::io;
use std::process::ExitStatus;
use std::sync::Arc;

use db::Login;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Child;

use crate::bridge::Bridge;
use crate::child::{Libpq, Program, Way};
use crate::context::Context;
use crate::failure::Failure;
use crate::listener::{self, Local, Wrap};
use crate::screen;

/// Runs the program with the PG* variables set to the tunnel's local end, and returns its exit status.
///
/// # Errors
/// The program cannot be started (1).
pub async fn run(
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
    // Ctrl-C belongs to the program from the start: psql cancels a query with it. The terminal delivers it.
    let foreground = context.shutdown.leave_interrupts();
    let mut child = program.spawn().await?;
    let status = tokio::select! {
        status = wait(context, &mut child) => status?,
        never = listener::serve(local, bridge, &wrap, &context.view) => match never {},
    };
    drop(foreground);
    drop(lent);
    Ok(status)
}

/// Waits for the program, and sends it SIGTERM if this program is to stop.
async fn wait(context: &Context, child: &mut Child) -> io::Result<ExitStatus> {
    tokio::select! {
        status = child.wait() => return status,
        () = context.stop.raised() => (),
    }
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        // The program may have ended already.
        kill(Pid::from_raw(pid), Signal::SIGTERM).ok();
    }
    child.wait().await
}
