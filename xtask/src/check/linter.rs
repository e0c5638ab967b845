//! Linters from Python's package index, in a virtual environment of the target directory.

use std::fs::File;
use std::path::PathBuf;

use anyhow::Context;
use xshell::{Cmd, Shell, cmd};

use crate::workspace;

/// Every package with its version and hashes.
const REQUIREMENTS: &str = include_str!("requirements.txt");
/// Interpreters to look for, the user's own choice first.
const PYTHONS: [&str; 6] = ["python3", "python3.14", "python3.13", "python3.12", "python3.11", "python3.10"];
/// Fails where something is missing, and tells one interpreter from the next.
const PROBE: &str = "import ensurepip, sys, venv; assert sys.version_info >= (3, 10); \
                     print(sys.version, sys.base_prefix)";

/// The linters, installed.
pub(super) struct Linters {
    bin: PathBuf,
}

impl Linters {
    /// Returns the linters, installing them once for each list of requirements and interpreter.
    ///
    /// # Errors
    /// What is missing: Python, its venv module, or the package index.
    pub(super) fn ensure(sh: &Shell) -> anyhow::Result<Linters> {
        let probe =
            |python| Some((python, cmd!(sh, "{python} -c {PROBE}").quiet().ignore_stderr().read().ok()?));
        let (python, identity) = PYTHONS.into_iter().find_map(probe).context(
            "there is no python3 (3.10 or later) with its venv module (Debian: `apt-get install python3-venv`)",
        )?;
        let dir = workspace::target_dir()?.join("check");
        sh.create_dir(&dir)?;
        let lock = dir.join("lock");
        let lock = File::create(&lock).with_context(|| format!("cannot create `{}`", lock.display()))?;
        lock.lock().context("cannot wait for another `cargo xtask check`")?;

        let name = workspace::hash(sh, &format!("{identity}\n{REQUIREMENTS}"))?;
        let venv = dir.join(format!("venv-{name}"));
        let (bin, complete) = (venv.join("bin"), venv.join("complete"));
        if !complete.exists() {
            eprintln!("check: installing check-jsonschema and shellcheck, about 12 MB (once)");
            sh.remove_path(&venv)?;
            cmd!(sh, "{python} -m venv {venv}").quiet().run()?;
            let requirements = venv.join("requirements.txt");
            sh.write_file(&requirements, REQUIREMENTS)?;
            let pip = bin.join("pip");
            cmd!(sh, "{pip} install --quiet --no-input --disable-pip-version-check --only-binary :all:")
                .args(["--require-hashes", "--requirement"])
                .arg(&requirements)
                .quiet()
                .run()
                .context("the linters cannot be installed from Python's package index")?;
            sh.write_file(&complete, "")?;
        }
        Ok(Linters { bin })
    }

    /// Returns the command that holds the workflow files against GitHub's schema.
    pub(super) fn workflows<'a>(&self, sh: &'a Shell) -> anyhow::Result<Cmd<'a>> {
        let program = self.bin.join("check-jsonschema");
        let files = tracked(sh, &[".github/workflows/*.yml", ".github/workflows/*.yaml"])?;
        Ok(cmd!(sh, "{program} --builtin-schema vendor.github-workflows {files...}"))
    }

    /// Returns the command that checks shell scripts that name their shell.
    pub(super) fn scripts<'a>(&self, sh: &'a Shell) -> anyhow::Result<Cmd<'a>> {
        let program = self.bin.join("shellcheck");
        let files = scripts(sh)?.0;
        Ok(cmd!(sh, "{program} {files...}"))
    }

    /// Returns the command that checks shell scripts that a program gives to `sh`.
    pub(super) fn fragments<'a>(&self, sh: &'a Shell) -> anyhow::Result<Cmd<'a>> {
        let program = self.bin.join("shellcheck");
        let files = scripts(sh)?.1;
        Ok(cmd!(sh, "{program} --shell sh {files...}"))
    }
}

/// Returns the scripts with a first line that names their shell, and those without.
fn scripts(sh: &Shell) -> anyhow::Result<(Vec<String>, Vec<String>)> {
    let mut files = tracked(sh, &[".ci/run", "*.sh", "tests/images/bastion/dnf"])?;
    let mut fragments = Vec::new();
    for file in std::mem::take(&mut files) {
        let names_its_shell = sh.read_file(&file)?.starts_with("#!");
        if names_its_shell { &mut files } else { &mut fragments }.push(file);
    }
    Ok((files, fragments))
}

/// Returns the files that git knows or would add.
fn tracked(sh: &Shell, patterns: &[&str]) -> anyhow::Result<Vec<String>> {
    let listed =
        cmd!(sh, "git ls-files --cached --others --exclude-standard --deduplicate -- {patterns...}").quiet();
    let files = listed.read()?;
    Ok(files.lines().filter(|file| sh.path_exists(file)).map(str::to_owned).collect())
}
