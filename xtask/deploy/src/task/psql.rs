//! `psql`: psql on a tenant's database, with nothing to install.

use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use crate::child::{self, Program};
use crate::context::Context;
use crate::failure::Failure;
use crate::listener::{TlsBy, Want};
use crate::paths;
use crate::task::exec;

/// Runs psql: the one on PATH, else the one that the sandbox's wheel carries.
pub async fn run(context: &Context, args: &xtask::Psql) -> Result<ExitCode, Failure> {
    let (path, tls) = find().await?;
    let mut program =
        if names_database(&args.args) { Program::new(path) } else { Program::of_postgresql(path) };
    program.args(&args.args);
    let want = if args.socket { Want::Socket(None) } else { tls.local_end() };
    exec::with_tunnel(context, args.tenant.as_deref(), program, &want).await
}

/// Returns psql, and who speaks TLS for it.
async fn find() -> Result<(PathBuf, TlsBy), Failure> {
    let own = Path::new("psql");
    if runs(own).await {
        return Ok((own.to_owned(), TlsBy::Program));
    }
    // The wheel's psql was built without.
    match sandbox::Programs::psql(&paths::sandboxes()?) {
        Some(path) => Ok((path, TlsBy::LocalEnd)),
        None => Err(Failure::usage("there is no psql on PATH").hint(
            "install PostgreSQL's client programs, or run `cargo xtask sandbox start` once, which brings one",
        )),
    }
}

/// psql's options of one letter that take a value, and the long ones (psql(1)).
const VALUED: &str = "cdfFhLopPRTUv";
const LONG_VALUED: [&str; 14] = [
    "command",
    "dbname",
    "field-separator",
    "file",
    "host",
    "log-file",
    "output",
    "port",
    "pset",
    "record-separator",
    "set",
    "table-attr",
    "username",
    "variable",
];

/// Those that say where to connect, and as whom. A connection string would outrank them.
const OF_PLACE: [char; 4] = ['d', 'h', 'p', 'U'];
const LONG_OF_PLACE: [&str; 4] = ["dbname", "host", "port", "username"];

/// Says whether psql's own arguments name a database, or anything else to connect to: then they mean that.
fn names_database(args: &[String]) -> bool {
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if arg == "--" {
            return args.next().is_some();
        }
        let takes_next = if let Some(long) = arg.strip_prefix("--") {
            let name = long.split('=').next().unwrap_or_default();
            // As long as it is not another's beginning, a name may be cut short.
            if !name.is_empty() && LONG_OF_PLACE.iter().any(|place| place.starts_with(name)) {
                return true;
            }
            !long.contains('=') && LONG_VALUED.iter().any(|valued| valued.starts_with(name))
        } else if let Some(letters) = arg.strip_prefix('-').filter(|letters| !letters.is_empty()) {
            match letters.find(|letter| VALUED.contains(letter)) {
                Some(at) if letters[at..].starts_with(OF_PLACE) => return true,
                Some(at) => at + 1 == letters.len(),
                None => false,
            }
        } else {
            return true;
        };
        if takes_next {
            args.next();
        }
    }
    false
}

async fn runs(program: &Path) -> bool {
    let mut command = child::command(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().await.is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_psql_is_told_to_connect_to_is_left_to_it() {
        let names =
            |args: &str| names_database(&args.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        for args in [
            "shop",
            "-d shop",
            "-dshop",
            "-XAtqd shop",
            "--dbname=shop",
            "--dbname shop",
            "-X shop",
            "-- shop",
            "-U app",
            "-XhU app",
            "--username=app",
            "-U app",
            "-XhU app",
            "--username=app",
        ] {
            assert!(names(args), "{args}");
        }
        for args in [
            "",
            "-X",
            "-XAtc select",
            "-c d",
            "-v d=1",
            "--command select",
            "--command=d",
            "--set d=1 -X",
            "-f d.sql",
        ] {
            assert!(!names(args), "{args}");
        }
    }
}
