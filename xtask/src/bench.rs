//! `bench` and `soak`: figures, in the profile that every task has.

use std::process::ExitCode;

use xshell::{Shell, cmd};
use xtask::{Bench, BenchMigrate, Soak};

use crate::workspace;

/// Builds the program and the bench, and runs it.
pub(crate) fn run(sh: &Shell, bench: &Bench, json: bool) -> anyhow::Result<ExitCode> {
    match bench {
        Bench::Tunnel => start(sh, "tunnel", &[], json),
        Bench::Migrate(bench) => migrate(sh, bench, json),
        Bench::Provision => start(sh, "provision", &[], json),
    }
}

fn migrate(sh: &Shell, bench: &BenchMigrate, json: bool) -> anyhow::Result<ExitCode> {
    let (tenants, sample) = if bench.quick { (48, 2) } else { (bench.tenants, bench.sample) };
    let (tenants, sample) = (tenants.to_string(), sample.to_string());
    let many = bench.many.map(|many| many.to_string());
    let mut args = vec!["--tenants", &tenants, "--sample", &sample];
    args.extend(many.iter().flat_map(|many| ["--many", many]));
    start(sh, "migrate", &args, json)
}

/// Runs the long form of the tests that put the tunnel under strain.
pub(crate) fn soak(sh: &Shell, soak: &Soak, json: bool) -> anyhow::Result<ExitCode> {
    start(sh, "tunnel", &["--soak-seconds", &soak.seconds.to_string()], json)
}

fn start(sh: &Shell, name: &str, args: &[&str], json: bool) -> anyhow::Result<ExitCode> {
    let _root = sh.push_dir(workspace::root());
    workspace::announce_heavy_build()?;
    // The bench measures the real program.
    cmd!(sh, "cargo build --locked --package deploy").quiet().run()?;
    let json: &[&str] = if json { &["--json"] } else { &[] };
    // The whole workspace, so that it has the features of every other build, and the SDK is not built again.
    cmd!(sh, "cargo bench --quiet --profile dev --workspace --locked --bench {name} -- {args...} {json...}")
        .quiet()
        .run()?;
    Ok(ExitCode::SUCCESS)
}
