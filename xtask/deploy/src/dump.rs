//! pg_dump: which one, a file that only its owner reads, and the proof that it holds the database.

mod proof;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use db::Login;
use db::tenant::DUMP_NAME;
use serde::Serialize;

use self::proof::Contents;
use crate::bridge::Bridge;
use crate::child::{self, Program};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::file::Unfinished;
use crate::listener::{Local, TlsBy};
use crate::{client, paths};

/// The pg_dump programs that were found, each with its pg_restore, the user's own first.
pub struct Programs(Vec<Pair>);

struct Pair {
    pg_dump: PathBuf,
    pg_restore: PathBuf,
    major: u32,
    tls: TlsBy,
}

/// A dump that was proved to hold its database.
#[derive(Clone, Debug, Serialize)]
pub struct Dump {
    /// Where it is.
    #[serde(serialize_with = "shown")]
    pub file: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal digits.
    pub sha256: String,
    /// How many tables it holds: all that there were.
    pub tables: usize,
}

impl Programs {
    /// Returns those on PATH and in the sandbox's wheel.
    ///
    /// # Errors
    /// Exit 2 if there is none.
    pub async fn find() -> Result<Programs, Failure> {
        let mut found = Vec::new();
        // The wheel's was built without TLS.
        let wheel = sandbox::Programs::psql(&paths::sandboxes()?);
        for (psql, tls) in [(Some(PathBuf::from("psql")), TlsBy::Program), (wheel, TlsBy::LocalEnd)] {
            let Some(psql) = psql else { continue };
            let (pg_dump, pg_restore) = (psql.with_file_name("pg_dump"), psql.with_file_name("pg_restore"));
            // One that cannot be read again is no dump.
            if let (Some(major), Some(_)) = (major(&pg_dump).await, major(&pg_restore).await) {
                found.push(Pair { pg_dump, pg_restore, major, tls });
            }
        }
        if found.is_empty() {
            return Err(help(Failure::usage(
                "there is no pg_dump with its pg_restore on PATH; nothing was dropped",
            )));
        }
        Ok(Programs(found))
    }

    /// Returns the first that can read a server of that version.
    fn for_server(&self, version: u32) -> Result<&Pair, Failure> {
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

    /// Dumps the login's database to a file that was not there before, and proves that the file holds it. Its session is called
    /// [`DUMP_NAME`]: whoever has the tenant's locks ends one of a run that was killed. Until the second value is dropped, the next
    /// run sees that this one has not come to its end.
    ///
    /// # Errors
    /// Exit 1 if pg_dump fails or the dump proves nothing, 2 if there is such a file; none is left then.
    pub async fn dump(
        &self,
        context: &Context,
        bridge: &Arc<Bridge>,
        login: &Login,
        version: u32,
        file: &Path,
    ) -> Result<(Dump, Unfinished), Failure> {
        let programs = self.for_server(version)?;
        let refused = |error: io::Error| {
            let text = format!("cannot write the dump `{}`: {error}; nothing was dropped", file.display());
            Failure::usage(text).hint("name another file with `--dump FILE`")
        };
        // pg_dump would let others read it, and would write over another one.
        if file.try_exists().map_err(refused)? {
            return Err(refused(io::ErrorKind::AlreadyExists.into()));
        }
        let unfinished = Unfinished::beside(file).map_err(refused)?;
        let mut program = Program::of_postgresql(&programs.pg_dump);
        program.args(["--format=custom", "--no-password", "--file"]).args([unfinished.path()]);
        program.command().stdin(Stdio::null()).stdout(Stdio::null()).env("PGAPPNAME", DUMP_NAME);
        let local = Local::open(&programs.tls.local_end()).await?;
        let status = Box::pin(client::run(context, bridge, login, &local, program)).await?;
        if !status.success() {
            let text = format!("pg_dump of `{}` failed ({status}); nothing was dropped", login.database);
            return Err(Failure::new(Exit::Failure, anyhow::Error::msg(text)));
        }
        let proving = prove(context, bridge, login, &programs.pg_restore, &unfinished, file);
        let dump = Box::pin(proving).await?;
        unfinished.become_new(file).map_err(refused)?;
        Ok((dump, unfinished))
    }
}

/// Proves that the file holds the login's database as it is now, and that the disk has it.
///
/// # Errors
/// Exit 1.
async fn prove(
    context: &Context,
    bridge: &Bridge,
    login: &Login,
    pg_restore: &Path,
    unfinished: &Unfinished,
    file: &Path,
) -> Result<Dump, Failure> {
    let unproved = |reason: String| {
        let text = format!("{reason}; nothing was dropped, and the dump was removed");
        Failure::new(Exit::Failure, anyhow::Error::msg(text))
            .hint("run the same again; a table that came after the dump began is in the next one")
    };
    let path = unfinished.path();
    unfinished.sync().map_err(|error| unproved(format!("the disk does not take the dump: {error}")))?;
    let contents = Contents::read(pg_restore, path).await.map_err(unproved)?;
    // Looked at after the dump: a table that came meanwhile is not in it.
    let live = db::tenant::tables(&bridge.server(context)?, login).await?;
    contents.prove(&login.database, &live).map_err(unproved)?;
    let read = path.to_owned();
    let digest = tokio::task::spawn_blocking(move || Ok((proof::digest(&read)?, fs::metadata(&read)?.len())));
    let digest = digest.await.map_err(io::Error::other).and_then(|digest| digest);
    let (sha256, bytes) =
        digest.map_err(|error| unproved(format!("the dump cannot be read again: {error}")))?;
    Ok(Dump { file: file.to_owned(), bytes, sha256, tables: live.tables.len() })
}

/// Writes a path as it is shown: not every one is UTF-8, which JSON is.
fn shown<S: serde::Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
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
        let (pg_dump, pg_restore) = (PathBuf::new(), PathBuf::new());
        let pair = |major, tls| Pair { pg_dump: pg_dump.clone(), pg_restore: pg_restore.clone(), major, tls };
        let programs = Programs(vec![pair(15, TlsBy::Program), pair(18, TlsBy::LocalEnd)]);
        assert!(programs.for_server(15).is_ok_and(|pair| pair.tls == TlsBy::Program));
        assert!(programs.for_server(16).is_ok_and(|pair| pair.tls == TlsBy::LocalEnd));
        let failure = programs.check(19).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.render_text().contains("pg_dump is of version 15 and 18; nothing was dropped"));
    }
}
