//! `fuzz`: inputs that nobody thought of, for the parts that read what comes from the network.

use std::process::ExitCode;

use anyhow::Context;
use xshell::{Shell, cmd};
use xtask::Fuzz;

use crate::workspace;

/// The programs in `infra/tunnel/fuzz`.
const TARGETS: [&str; 4] = ["codec", "smux", "handshake", "channel"];
/// What `cargo fuzz` sets, as far as a stable compiler knows it: coverage without sanitizers.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing";

/// Builds the fuzz targets with coverage and runs each for its time; what breaks one is kept in `target/fuzz`.
pub(crate) fn run(sh: &Shell, fuzz: &Fuzz) -> anyhow::Result<ExitCode> {
    if let Some(name) = fuzz.target.as_deref().filter(|name| !TARGETS.contains(name)) {
        let text = format!("there is no fuzz target `{name}`; there are {}", TARGETS.join(", "));
        return Err(workspace::Usage(text).into());
    }
    let compiler = ["c++", "g++", "clang++"];
    if !compiler.into_iter().any(|name| workspace::succeeds(cmd!(sh, "{name} --version"))) {
        let text = "libFuzzer is C++: install a C++ compiler (Debian: `apt-get install g++`)";
        return Err(workspace::Usage(text.to_owned()).into());
    }
    let out = workspace::target_dir()?.join("fuzz");
    let dir = workspace::root().join("infra/tunnel/fuzz");
    let _dir = sh.push_dir(&dir);
    let triple = host(sh)?;
    // With a target named, the flags leave build scripts alone.
    cmd!(sh, "cargo build --release --locked --target {triple} --target-dir {out}")
        .env("RUSTFLAGS", FLAGS)
        .quiet()
        .run()?;
    let mut broken = Vec::new();
    for target in TARGETS.into_iter().filter(|name| fuzz.target.as_deref().is_none_or(|only| only == *name)) {
        let corpus = out.join("corpus").join(target);
        let artifacts = out.join("artifacts").join(target);
        sh.create_dir(&corpus)?;
        sh.create_dir(&artifacts)?;
        let seeds = dir.join("seeds").join(target);
        let program = out.join(&triple).join("release").join(target);
        let seconds = (fuzz.minutes * 60).to_string();
        eprintln!("fuzz: {target} for {} min", fuzz.minutes);
        let run =
            cmd!(sh, "{program} {corpus} {seeds} -max_total_time={seconds} -timeout=10 -print_final_stats=1")
                .arg(format!("-artifact_prefix={}/", artifacts.display()))
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
            broken.push(target);
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

fn host(sh: &Shell) -> anyhow::Result<String> {
    let said = cmd!(sh, "rustc -vV").quiet().read()?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("`rustc -vV` does not name its host")
}
