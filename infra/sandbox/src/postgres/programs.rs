//! Where PostgreSQL's programs are, and how they are run.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::account::Account;
use super::locale;
use crate::{Error, Runtime, process};

/// Where PostgreSQL comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PostgresSource {
    /// The virtual environment: 16.14 and 18.4.
    #[default]
    Wheel,
    /// What is installed on the host.
    Host,
    /// A Docker image, such as `postgres:16`.
    Docker(String),
}

/// PostgreSQL's programs of one major version.
#[derive(Clone, Debug)]
pub struct Programs {
    pub(super) major: u16,
    bin: PathBuf,
    pub(super) account: Account,
    locale: Option<PathBuf>,
}

impl Programs {
    /// Returns the wheel's psql, if the virtual environment is complete.
    pub fn psql(cache: &Path) -> Option<PathBuf> {
        let bins = [18, 16].into_iter().filter_map(|major| Runtime::find(cache)?.postgres_bin(major));
        bins.map(|bin| bin.join("psql")).find(|psql| psql.is_file())
    }

    /// Returns the wheel's programs of that major version.
    ///
    /// `dir` is where clusters will live. Another version stands in where there is no such one.
    ///
    /// # Errors
    /// [`Error::Unreachable`] if nobody but root may enter the folders, and others of the same kind.
    pub fn wheel(
        runtime: &Runtime,
        major: u16,
        cache: &Path,
        dir: &Path,
        progress: &dyn Fn(&str),
    ) -> Result<Programs, Error> {
        let found = [16, 18].into_iter().filter_map(|major| Some((major, runtime.postgres_bin(major)?)));
        Programs::pick(found.collect(), "the virtual environment", major, cache, dir, progress)
    }

    /// Returns the host's programs, the same way.
    ///
    /// # Errors
    /// [`Error::NoPostgres`] if there are none, and those of [`Programs::wheel`].
    pub fn host(major: u16, cache: &Path, dir: &Path, progress: &dyn Fn(&str)) -> Result<Programs, Error> {
        Programs::pick(host_bins(major), "/usr/lib/postgresql and PATH", major, cache, dir, progress)
    }

    fn pick(
        found: Vec<(u16, PathBuf)>,
        place: &str,
        wanted: u16,
        cache: &Path,
        dir: &Path,
        progress: &dyn Fn(&str),
    ) -> Result<Programs, Error> {
        let newer = || found.iter().filter(|(major, _)| *major >= wanted).min();
        let Some((major, bin)) = newer().or_else(|| found.iter().max()).cloned() else {
            return Err(Error::NoPostgres { major: wanted, place: place.to_owned() });
        };
        if major != wanted {
            progress(&format!("warning: no PostgreSQL {wanted} in {place}; {major} stands in for it"));
        }
        let locale = locale::ensure(cache, progress)?;
        let account = Account::find(&[&bin, cache, dir])?;
        Ok(Programs { major, bin, account, locale })
    }

    /// Returns the path of one program.
    pub(super) fn path(&self, program: &str) -> PathBuf {
        self.bin.join(program)
    }

    /// Returns a command that runs `program`, which need not be PostgreSQL's, as PostgreSQL runs.
    pub(super) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = self.account.command(program);
        command.envs(self.locale.as_ref().map(|dir| ("LOCPATH", dir)));
        command
    }
}

/// Returns the folders with PostgreSQL servers on this host, by major version.
fn host_bins(major: u16) -> Vec<(u16, PathBuf)> {
    let mut bins: Vec<PathBuf> = vec![
        format!("/usr/lib/postgresql/{major}/bin").into(),
        format!("/usr/pgsql-{major}/bin").into(),
        format!("/opt/homebrew/opt/postgresql@{major}/bin").into(),
        format!("/usr/local/opt/postgresql@{major}/bin").into(),
    ];
    bins.extend(process::run(Command::new("pg_config").arg("--bindir")).map(|bin| bin.trim().into()));
    bins.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    bins.extend(installed.map(|version| version.path().join("bin")));
    let complete =
        bins.into_iter().filter(|bin| bin.join("postgres").is_file() && bin.join("initdb").is_file());
    complete.filter_map(|bin| Some((process::major_of(&bin.join("postgres"))?, bin))).collect()
}
