//! `psql`: psql on a tenant's database, with nothing to install.

use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use crate::child::{self, Program};
use crate::context::Context;
use crate::failure::Failure;
use crate::place;
use crate::task::exec::{self, TlsBy};

/// Runs psql: the one on PATH, else the one that the sandbox's wheel carries.
pub async fn run(context: &Context, args: &xtask::Psql) -> Result<ExitCode, Failure> {
    let (path, tls) = find().await?;
    let mut program = Program::new(path);
    program.args(&args.args);
    exec::with_tunnel(context, args.tenant.as_deref(), program, tls).await
}

async fn find() -> Result<(PathBuf, TlsBy), Failure> {
    let own = Path::new("psql");
    if runs(own).await {
        return Ok((own.to_owned(), TlsBy::Command));
    }
    // The wheel's psql was built without TLS.
    match sandbox::Programs::psql(&place::sandboxes()?) {
        Some(path) => Ok((path, TlsBy::Tunnel)),
        None => Err(Failure::usage("there is no psql on PATH").hint(
            "install PostgreSQL's client programs, or run `cargo xtask sandbox start` once, which brings one",
        )),
    }
}

async fn runs(program: &Path) -> bool {
    let mut command = child::command(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().await.is_ok_and(|status| status.success())
}
