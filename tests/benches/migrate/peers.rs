//! Other programs, where they are on PATH: one process a tenant, one after the other, in the clear.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::cluster::{OWNER, PASSWORD};
use crate::files::{self, Layout};

/// A program that migrates one database when it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Refinery,
    Sqlx,
    Dbmate,
    /// Keeps no history: it is given what is new, all of it in one transaction.
    Psql,
}

pub(crate) const PEERS: [Peer; 4] = [Peer::Refinery, Peer::Sqlx, Peer::Dbmate, Peer::Psql];

impl Peer {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Peer::Refinery => "refinery_cli",
            Peer::Sqlx => "sqlx",
            Peer::Dbmate => "dbmate",
            Peer::Psql => "psql -1",
        }
    }

    pub(crate) fn program(self) -> &'static str {
        match self {
            Peer::Refinery => "refinery",
            Peer::Sqlx => "sqlx",
            Peer::Dbmate => "dbmate",
            Peer::Psql => "psql",
        }
    }

    pub(crate) fn is_on_path(self) -> bool {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(self.program()).is_file())
    }

    /// Brings each database from so many files to so many, and returns how long that took.
    pub(crate) fn run(
        self,
        dir: &Path,
        address: SocketAddr,
        databases: &[String],
        (from, to): (usize, usize),
    ) -> Duration {
        let layout = match self {
            Peer::Refinery | Peer::Psql => Layout::Refinery,
            Peer::Sqlx => Layout::Sqlx,
            Peer::Dbmate => Layout::Dbmate,
        };
        let folder = files::write(dir, layout, to);
        let mut new: Vec<_> = files::names(layout, to).skip(from).map(|name| folder.join(name)).collect();
        let begun = Instant::now();
        for database in databases {
            let password = PASSWORD.replace(' ', "%20");
            let url = format!("postgres://{OWNER}:{password}@{address}/{database}?sslmode=disable");
            let mut command = Command::new(self.program());
            command
                .env("DATABASE_URL", &url)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped());
            match self {
                Peer::Refinery => command.args(["migrate", "-e", "DATABASE_URL", "-p"]).arg(&folder),
                Peer::Sqlx => command.args(["migrate", "run", "--source"]).arg(&folder),
                Peer::Dbmate => {
                    command.arg("--no-dump-schema").arg("--migrations-dir").arg(&folder).arg("migrate")
                }
                Peer::Psql => {
                    command.env("PGGSSENCMODE", "disable").arg(&url);
                    command.args(["-X", "-q", "-1", "-v", "ON_ERROR_STOP=1"]);
                    if new.is_empty() {
                        new.push(folder.join("nothing.sql"));
                        std::fs::write(&new[0], "SELECT;\n").expect("the file can be written");
                    }
                    command.args(new.iter().flat_map(|file| ["-f".as_ref(), file.as_os_str()]))
                }
            };
            let output = command.output().expect("it is on PATH");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{} failed: {said}", self.program());
        }
        begun.elapsed()
    }
}
