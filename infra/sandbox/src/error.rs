//! Why a sandbox cannot start, run or stop.

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::gateway;

/// Why the sandbox cannot start, run or stop.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder cannot be used.
    #[error("cannot {verb} `{}`", path.display())]
    File {
        /// What was tried: `create`, `read`, `lock`, ..
        verb: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A program cannot be started at all.
    #[error("cannot run `{program}`")]
    Spawn {
        /// The program.
        program: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A program ended badly.
    #[error("`{program}` failed ({status}){}", tail(output))]
    Program {
        /// The program.
        program: String,
        /// Its exit status.
        status: String,
        /// The end of what it printed.
        output: String,
    },
    /// There is neither Python nor Docker.
    #[error(
        "found neither python3 (3.10 or newer) nor docker on PATH; install one, for example `apt-get install python3 python3-venv`"
    )]
    NoPython,
    /// Python lacks a module that virtual environments need.
    #[error(
        "`{python}` lacks the module `{module}`; on Debian and Ubuntu `apt-get install python3-venv` brings it"
    )]
    NoVenv {
        /// The interpreter.
        python: String,
        /// The missing module.
        module: String,
    },
    /// The packages could not be installed.
    #[error(
        "pip could not install moto and PostgreSQL; it needs a network, or a package index that pip is configured for{}",
        tail(output)
    )]
    Install {
        /// The end of what pip printed.
        output: String,
    },
    /// A server ended, or was silent, before it was ready.
    #[error("{server} did not start; its log is `{}`{}", log.display(), tail(output))]
    NotReady {
        /// Which server.
        server: String,
        /// Its log file.
        log: PathBuf,
        /// The end of the log.
        output: String,
    },
    /// No PostgreSQL of that major version where it was looked for.
    #[error("no PostgreSQL {major} in {place}")]
    NoPostgres {
        /// The major version asked for.
        major: u16,
        /// Where it was looked for.
        place: String,
    },
    /// PostgreSQL refuses to run as root, and its user cannot get to its files.
    #[error(
        "PostgreSQL does not run as root, and user `{user}` may not enter `{}`; move the clone, or set CARGO_TARGET_DIR to a folder that everybody may enter", folder.display()
    )]
    Unreachable {
        /// The unprivileged user.
        user: String,
        /// The first folder on the way that it may not enter.
        folder: PathBuf,
    },
    /// We are root, and there is no user to run PostgreSQL as.
    #[error("PostgreSQL does not run as root, and there is neither a user `postgres` nor `nobody`")]
    NoUser,
    /// A unix socket's address has room for about 100 bytes only.
    #[error("the path `{}` is too long for a unix socket; set CARGO_TARGET_DIR to a shorter one", path.display())]
    SocketPath {
        /// The socket.
        path: PathBuf,
    },
    /// PostgreSQL refused a statement of the sandbox's own.
    #[error("PostgreSQL refused to {doing}")]
    Sql {
        /// What the statement was to do.
        doing: String,
        /// What the server said.
        #[source]
        source: tokio_postgres::Error,
    },
    /// A key or certificate could not be made.
    #[error("cannot make the sandbox's certificates")]
    Certificate(#[source] rcgen::Error),
    /// The TLS library refused a certificate that was just made.
    #[error("cannot serve TLS with the sandbox's certificate")]
    Tls(#[source] tokio_rustls::rustls::Error),
    /// A sandbox runs in that folder already.
    #[error("a sandbox runs in `{}` already{}", dir.display(), process(*pid))]
    AlreadyRunning {
        /// The sandbox's folder.
        dir: PathBuf,
        /// Its process, if it is ready.
        pid: Option<i32>,
    },
    /// A sandbox was told to end and did not.
    #[error("the sandbox, process {pid}, did not end in time")]
    StillRunning {
        /// Its process.
        pid: i32,
    },
    /// The gateway could not start.
    #[error("cannot start the gateway")]
    Gateway(#[from] gateway::Error),
    /// Signals cannot be waited for.
    #[error("cannot wait for signals")]
    Signal(#[source] io::Error),
    /// There is no such database.
    #[error("no database `{identifier}` runs")]
    NoDatabase {
        /// The identifier of the RDS instance.
        identifier: String,
    },
}

impl Error {
    /// Names the path that an I/O error is about.
    pub(crate) fn file(verb: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::File { verb, path, source }
    }

    /// Returns the error of a server that did not come up, with the end of its log.
    pub(crate) fn not_ready(server: &str, log: PathBuf) -> Error {
        let output =
            fs::read(&log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        Error::NotReady { server: server.to_owned(), log, output }
    }

    /// Returns the error with its causes in one line.
    pub(crate) fn chain(&self) -> String {
        let mut line = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            line = format!("{line}: {cause}");
            source = cause.source();
        }
        line
    }
}

fn process(pid: Option<i32>) -> String {
    pid.map(|pid| format!(", as process {pid}")).unwrap_or_default()
}

fn tail(output: &str) -> String {
    let lines: Vec<&str> = output.lines().filter(|line| !line.trim().is_empty()).collect();
    let start = lines.len().saturating_sub(12);
    lines[start..].iter().map(|line| format!("\n    {line}")).collect()
}
