//! `test`: every test that this machine can run.

mod memory;
mod sweeper;

use std::path::Path;
use std::process::ExitCode;

use xshell::{Shell, cmd};
use xtask::Test;

use crate::images::{self, Image};
use crate::workspace;
use sweeper::Sweeper;

/// What the container tests label all that they make with. They run only where it is set.
const RUN_VARIABLE: &str = "DRAWBRIDGE_TEST_RUN";
/// `full`: every kind of fault at every call. Otherwise every tenth call meets one kind, which takes a fortieth of the time.
const SWEEP_VARIABLE: &str = "DRAWBRIDGE_TEST_SWEEP";
/// Where tests write, if not into the target directory.
const DIR_VARIABLE: &str = "DRAWBRIDGE_TEST_DIR";
/// How many tests `cargo test` runs at a time: most of them wait for containers and servers more than they compute.
const THREADS_VARIABLE: &str = "RUST_TEST_THREADS";

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
    let dir = memory::dir(sh, &run);
    let sweeper = Sweeper::start(run, !images.is_empty(), dir.as_deref())?;
    let tested = cargo_test(sh, test, &images, &sweeper, dir.as_deref());
    let swept = sweeper.end();
    let tested = tested.and(swept);
    for text in skipped {
        eprintln!("skipped: {text}");
    }
    tested.map(|()| ExitCode::SUCCESS)
}

fn cargo_test(
    sh: &Shell,
    test: &Test,
    images: &[Image],
    sweeper: &Sweeper,
    dir: Option<&Path>,
) -> anyhow::Result<()> {
    let args = &test.args;
    // There are no tests in documentation, and rustdoc takes half a second a crate to find that out.
    let targets: &[&str] = if args.is_empty() { &["--lib", "--bins", "--tests"] } else { &[] };
    // One failure does not hide the next: CI shows them all.
    let mut command = cmd!(sh, "cargo test --workspace --locked --no-fail-fast {targets...} {args...}")
        .quiet()
        .env_remove(RUN_VARIABLE);
    if workspace::is_ci() {
        command = command.env(SWEEP_VARIABLE, "full");
    }
    if std::env::var_os(THREADS_VARIABLE).is_none() {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        command = command.env(THREADS_VARIABLE, (3 * cores).to_string());
    }
    for image in images {
        command = command.env(image.variable, &image.reference);
    }
    if !images.is_empty() {
        command = command.env(RUN_VARIABLE, sweeper.run());
    }
    if let Some(dir) = dir {
        command = command.env(DIR_VARIABLE, dir);
    }
    command.run()?;
    Ok(())
}
