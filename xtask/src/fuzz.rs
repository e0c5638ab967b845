//! `fuzz`: inputs that nobody thought of, for the parts that read what comes from the network.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use xshell::{Shell, cmd};
use xtask::Fuzz;

use crate::workspace;

/// The folders with programs, and the programs.
const FOLDERS: [(&str, &[&str]); 2] =
    [("infra/tunnel/fuzz", &["codec", "smux", "handshake", "closed", "channel"]), ("db/fuzz", &["history"])];
/// What `cargo fuzz` sets, as far as a stable compiler knows it: coverage without sanitizers.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing";

/// Builds the fuzz targets with coverage and runs each for its time; what breaks one is kept in `target/fuzz`.
pub(crate) fn run(sh: &Shell, fuzz: &Fuzz) -> anyhow::Result<ExitCode> {
    let known = FOLDERS.iter().flat_map(|(_, targets)| *targets).copied();
    let known: Vec<&str> = known.collect();
    if let Some(name) = fuzz.target.as_deref().filter(|name| !known.contains(name)) {
        let text = format!("there is no fuzz target `{name}`; there are {}", known.join(", "));
        return Err(workspace::Usage(text).into());
    }
    let compiler = ["c++", "g++", "clang++"];
    if !compiler.into_iter().any(|name| workspace::succeeds(cmd!(sh, "{name} --version"))) {
        let text = "libFuzzer is C++: install a C++ compiler (Debian: `apt-get install g++`)";
        return Err(workspace::Usage(text.to_owned()).into());
    }
    let out = workspace::target_dir()?.join("fuzz");
    let mut broken = Vec::new();
    for (folder, targets) in FOLDERS {
        let is_wanted = |name: &&str| fuzz.target.as_deref().is_none_or(|only| only == *name);
        let wanted: Vec<&str> = targets.iter().copied().filter(is_wanted).collect();
        if !wanted.is_empty() {
            broken.extend(run_targets(sh, &workspace::root().join(folder), &out, &wanted, fuzz.minutes)?);
        }
    }
    anyhow::ensure!(
        broken.is_empty(),
        "broken: {}; see {}",
        broken.join(", "),
        out.join("artifacts").display()
    );
    Ok(ExitCode::SUCCESS)
}

/// Builds the programs of a folder and runs those; returns what broke.
fn run_targets<'a>(
    sh: &Shell,
    dir: &Path,
    out: &Path,
    targets: &[&'a str],
    minutes: u32,
) -> anyhow::Result<Vec<&'a str>> {
    let _dir = sh.push_dir(dir);
    let triple = host(sh)?;
    // With a target named, the flags leave build scripts alone.
    cmd!(sh, "cargo build --release --locked --target {triple} --target-dir {out}")
        .env("RUSTFLAGS", FLAGS)
        .quiet()
        .run()?;
    let mut broken = Vec::new();
    for target in targets {
        let corpus = out.join("corpus").join(target);
        let artifacts = out.join("artifacts").join(target);
        // Not every target has seeds that were worth keeping.
        let seeds = Some(dir.join("seeds").join(target)).filter(|seeds| seeds.is_dir());
        sh.create_dir(&corpus)?;
        sh.create_dir(&artifacts)?;
        let program = out.join(&triple).join("release").join(target);
        let seconds = (minutes * 60).to_string();
        eprintln!("fuzz: {target} for {minutes} min");
        let run = cmd!(sh, "{program} {corpus}")
            .args(seeds)
            .args([format!("-max_total_time={seconds}"), "-timeout=10".to_owned()])
            .args(["-print_final_stats=1".to_owned(), format!("-artifact_prefix={}/", artifacts.display())])
            .quiet()
            .ignore_status();
        let output = run.output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            let runs = said.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
            eprintln!("fuzz: {target}: nothing found in {} runs", runs.unwrap_or("?").trim());
        } else {
            let tail: Vec<&str> = said.lines().rev().take(40).collect();
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
            broken.push(*target);
        }
    }
    Ok(broken)
}

fn host(sh: &Shell) -> anyhow::Result<String> {
    let said = cmd!(sh, "rustc -vV").quiet().read()?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("`rustc -vV` does not name its host")
}
