//! pg_dump: which one, and a file that only its owner reads.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use db::Login;

use crate::bridge::Bridge;
use crate::child;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::file::Unfinished;
use crate::task::exec::{self, TlsBy};
use crate::{listener, place};

/// The pg_dump programs that were found, the user's own first.
pub struct Programs(Vec<Program>);

struct Program {
    path: PathBuf,
    major: u32,
    has_tls: bool,
}

impl Programs {
    /// Returns those on PATH and in the sandbox's wheel.
    ///
    /// # Errors
    /// Exit 2 if there is none.
    pub async fn find() -> Result<Programs, Failure> {
        let mut found = Vec::new();
        // The wheel's was built without TLS.
        let wheel = sandbox::Programs::psql(&place::sandboxes()?).map(|psql| psql.with_file_name("pg_dump"));
        for (path, has_tls) in [(Some(PathBuf::from("pg_dump")), true), (wheel, false)] {
            let Some(path) = path else { continue };
            if let Some(major) = major(&path).await {
                found.push(Program { path, major, has_tls });
            }
        }
        if found.is_empty() {
            return Err(help(Failure::usage("there is no pg_dump on PATH; nothing was dropped")));
        }
        Ok(Programs(found))
    }

    /// Returns the first that can read a server of that version.
    fn for_server(&self, version: u32) -> Result<&Program, Failure> {
        self.0.iter().find(|program| program.major >= version).ok_or_else(|| {
            let found: Vec<String> = self.0.iter().map(|program| program.major.to_string()).collect();
            let found = found.join(" and ");
            help(Failure::usage(format!(
                "the server is PostgreSQL {version} and pg_dump is of version {found}; nothing was dropped"
            )))
        })
    }

    /// Fails if none of them can read a server of that version.
    ///
    /// # Errors
    /// Exit 2.
    pub fn check(&self, version: u32) -> Result<(), Failure> {
        self.for_server(version).map(drop)
    }

    /// Dumps the login's database to a file that was not there before, and returns its size in bytes.
    ///
    /// # Errors
    /// Exit 1 if pg_dump fails, 2 if there is such a file; none is left then.
    pub async fn dump(
        &self,
        context: &Context,
        bridge: &Arc<Bridge>,
        login: &Login,
        version: u32,
        file: &Path,
    ) -> Result<u64, Failure> {
        let program = self.for_server(version)?;
        let refused = |error: io::Error| {
            let text = format!("cannot write the dump `{}`: {error}; nothing was dropped", file.display());
            Failure::usage(text).hint("name another file with `--dump FILE`")
        };
        // pg_dump would let others read it, and would write over another one.
        if file.try_exists().map_err(refused)? {
            return Err(refused(io::ErrorKind::AlreadyExists.into()));
        }
        let unfinished = Unfinished::beside(file).map_err(refused)?;
        let mut command = child::Program::new(&program.path);
        command.args(["--format=custom", "--no-password", "--file"]).args([unfinished.path()]);
        command.command().stdin(Stdio::null()).stdout(Stdio::null());
        let listener = listener::bind(0).await?;
        let tls = if program.has_tls { TlsBy::Command } else { TlsBy::Tunnel };
        let ran = Box::pin(exec::run_on(context, bridge, login, &listener, command, tls)).await;
        let size = fs::metadata(unfinished.path()).map_or(0, |file| file.len());
        match &ran {
            Ok(status) if status.success() && size > 0 => {
                unfinished.become_new(file).map_err(refused)?;
                return Ok(size);
            }
            Ok(_) | Err(_) => drop(unfinished),
        }
        let status = ran?;
        let text = format!("pg_dump of `{}` failed ({status}); nothing was dropped", login.database);
        Err(Failure::new(Exit::Failure, anyhow::Error::msg(text)))
    }
}

fn help(failure: Failure) -> Failure {
    failure
        .hint("install the client programs of the server's version, or a later one")
        .hint("add `--no-dump` if its data may go without a copy")
}

async fn major(program: &Path) -> Option<u32> {
    let mut command = child::command(program);
    command.arg("--version").stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output().await.ok().filter(|output| output.status.success())?;
    parse_major(&String::from_utf8_lossy(&output.stdout))
}

/// Returns the major version in `pg_dump (PostgreSQL) 15.18 (Debian 15.18-0)`.
fn parse_major(text: &str) -> Option<u32> {
    let version = text.split_once("(PostgreSQL) ")?.1;
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_pg_dump_is_read_from_what_it_says() {
        assert_eq!(parse_major("pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(15));
        assert_eq!(parse_major("pg_dump (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(parse_major("something else\n"), None);
    }

    #[test]
    fn an_older_pg_dump_is_passed_over_and_none_that_fits_is_named() {
        let program = |major, has_tls| Program { path: PathBuf::new(), major, has_tls };
        let programs = Programs(vec![program(15, true), program(18, false)]);
        assert!(programs.for_server(15).is_ok_and(|program| program.has_tls));
        assert!(programs.for_server(16).is_ok_and(|program| !program.has_tls));
        let failure = programs.check(19).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.render_text().contains("pg_dump is of version 15 and 18; nothing was dropped"));
    }
}
