//! `test`: every test that this machine can run.

mod memory;
mod sweeper;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::Context;
use xshell::{Shell, cmd};
use xtask::Test;

use crate::images::{self, Image};
use crate::workspace;
use sweeper::Sweeper;

/// What the container tests label all that they make with. They run only where it is set.
const RUN_VARIABLE: &str = "DRAWBRIDGE_TEST_RUN";
/// `full`: every kind of fault at every call. Otherwise every tenth call meets one kind, which takes a fortieth of the time.
const SWEEP_VARIABLE: &str = "DRAWBRIDGE_TEST_SWEEP";
/// Where tests write.
const DIR_VARIABLE: &str = "DRAWBRIDGE_TEST_DIR";
/// The socket of the moto that all tests' copies come from: whoever comes first starts it.
const MOTO_VARIABLE: &str = "DRAWBRIDGE_TEST_MOTO";
/// The longest path that a socket may have, on any system, with room for what ends it.
const SOCKET_LENGTH: usize = 100;
/// How long all tests together may take under `cargo test`, which has no limit for a single one. In CI, where they take
/// longest, half of that is much.
const LIMIT: Duration = Duration::from_secs(60 * 60);

/// What runs the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Runner {
    /// Each test in a process of its own, with a limit (`.config/nextest.toml`).
    Nextest,
    /// What every toolchain has.
    Cargo,
}

impl Runner {
    fn find(sh: &Shell) -> Runner {
        let is_there = workspace::succeeds(cmd!(sh, "cargo nextest --version"));
        if is_there { Runner::Nextest } else { Runner::Cargo }
    }

    fn words(self) -> &'static [&'static str] {
        match self {
            Runner::Nextest => &["nextest", "run"],
            Runner::Cargo => &["test"],
        }
    }

    /// Returns the variable with how many tests it runs at a time.
    fn threads(self) -> &'static str {
        match self {
            Runner::Nextest => "NEXTEST_TEST_THREADS",
            Runner::Cargo => "RUST_TEST_THREADS",
        }
    }
}

/// Builds the programs that the tests drive, runs all tests, and says what could not be shown here.
pub(crate) fn run(sh: &Shell, test: &Test) -> anyhow::Result<ExitCode> {
    let _root = sh.push_dir(workspace::root());
    let mut skipped = vec![
        "the sandbox on Docker images (no Python, or `--postgres docker`): there is no test for it yet"
            .to_owned(),
    ];
    let images = match images::resolve(sh, images::Source::Any) {
        Ok(images) => images,
        // Whoever names an image wants to see it tested.
        Err(error) if error.is::<workspace::Usage>() => return Err(error),
        Err(error) if workspace::is_ci() => {
            anyhow::bail!("the container tests cannot run, and where CI is set nothing is skipped: {error:#}")
        }
        Err(error) => {
            let text = format!("the container tests: {error:#}");
            // Now, so that it can be mended now; and after the tests, where it is read.
            eprintln!("skipped: {text}");
            skipped.push(text);
            Vec::new()
        }
    };
    workspace::announce_heavy_build()?;
    // The command-line tests drive the real programs.
    cmd!(sh, "cargo build --locked --package deploy").quiet().run()?;
    let run = sweeper::new_run();
    let dir = match memory::dir(sh, &run) {
        Some(dir) => dir,
        None => disk(&run)?,
    };
    let sweeper = Sweeper::start(run, !images.is_empty(), Some(&dir))?;
    let tested = run_tests(sh, test, &images, &sweeper, &dir);
    let hang = tested.as_ref().is_err_and(|error| error.is::<Hanging>());
    let swept = if hang { sweeper.cut_off() } else { sweeper.end() };
    let tested = tested.and(swept);
    for text in skipped {
        eprintln!("skipped: {text}");
    }
    tested.map(|()| ExitCode::SUCCESS)
}

/// Makes a folder for one run below the target directory, for machines without room in memory.
fn disk(run: &str) -> anyhow::Result<PathBuf> {
    let dir = workspace::target_dir()?.join(format!("test-{run}"));
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot create `{}`", dir.display()))?;
    Ok(dir)
}

fn run_tests(sh: &Shell, test: &Test, images: &[Image], sweeper: &Sweeper, dir: &Path) -> anyhow::Result<()> {
    let args = &test.args;
    // There are no tests in documentation, and rustdoc takes half a second a crate to find that out.
    let targets: &[&str] = if args.is_empty() { &["--lib", "--bins", "--tests"] } else { &[] };
    let runner = Runner::find(sh);
    let words = runner.words();
    // One failure does not hide the next: CI shows them all.
    let mut command = cmd!(sh, "cargo {words...} --workspace --locked --no-fail-fast {targets...} {args...}")
        .quiet()
        .env_remove(RUN_VARIABLE);
    if workspace::is_ci() {
        command = command.env(SWEEP_VARIABLE, "full");
    }
    if std::env::var_os(runner.threads()).is_none() {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        // Most of them wait for containers and servers more than they compute.
        command = command.env(runner.threads(), (3 * cores).to_string());
    }
    for image in images {
        command = command.env(image.variable, &image.reference);
    }
    if !images.is_empty() {
        command = command.env(RUN_VARIABLE, sweeper.run());
    }
    command = command.env(DIR_VARIABLE, dir);
    let socket = dir.join("moto.sock");
    if socket.as_os_str().len() <= SOCKET_LENGTH {
        command = command.env(MOTO_VARIABLE, socket);
    }
    match runner {
        Runner::Nextest => command.run().map_err(Into::into),
        Runner::Cargo => run_within(command.into(), LIMIT),
    }
}

/// Runs a program to its end; ends it where that takes longer.
fn run_within(mut command: Command, limit: Duration) -> anyhow::Result<()> {
    let mut child = command.spawn().context("cannot run `cargo`")?;
    let began = Instant::now();
    while began.elapsed() < limit {
        if let Some(status) = child.try_wait().context("cannot wait for `cargo`")? {
            anyhow::ensure!(status.success(), "the tests failed ({status})");
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    child.kill().and_then(|()| child.wait()).context("cannot end `cargo`")?;
    Err(Hanging { minutes: limit.as_secs() / 60 }.into())
}

/// The tests did not come to their end.
#[derive(Debug)]
struct Hanging {
    minutes: u64,
}

impl std::fmt::Display for Hanging {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "the tests have not ended within {} minutes: the last line above that says `has been running for over 60 \
             seconds` names one that hangs; with cargo-nextest installed each test has a limit of its own",
            self.minutes
        )
    }
}

impl std::error::Error for Hanging {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_that_do_not_end_are_ended_and_that_is_said() {
        let mut hangs = Command::new("sleep");
        hangs.arg("1000");
        let error = run_within(hangs, Duration::from_millis(10)).unwrap_err();
        assert!(error.to_string().contains("have not ended within 0 minutes"), "{error}");
        let status = |code: &str| {
            let mut ends = Command::new("sh");
            ends.args(["-c", &format!("exit {code}")]);
            run_within(ends, LIMIT)
        };
        status("0").unwrap();
        assert!(status("101").unwrap_err().to_string().contains("101"));
    }
}
