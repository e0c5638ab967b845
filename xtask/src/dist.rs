//! `dist`: the program for a release step on a small runner, which compiles nothing.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use xshell::{Shell, cmd};
use xtask::Dist;

use crate::workspace;

/// What it is called where there is no cargo.
const PROGRAM: &str = "drawbridge";
/// How often it is started; the quickest counts, as what slows a start down is not the program's.
const STARTS: usize = 10;

/// Builds the program, writes its completions, pages and checksums beside it, and says how large and how quick it is.
pub(crate) fn run(sh: &Shell, dist: &Dist, json: bool) -> anyhow::Result<ExitCode> {
    let target = workspace::target_dir()?;
    let dir = match &dist.dir {
        Some(dir) => std::path::absolute(dir)?,
        None => target.join("dist").join(PROGRAM),
    };
    eprintln!("building the AWS SDK for release; the first time it takes 25 minutes on 2 cores");
    {
        let _root = sh.push_dir(workspace::root());
        cmd!(sh, "cargo build --locked --profile dist --package deploy --target-dir {target}")
            .quiet()
            .run()?;
    }
    let built = target.join("dist").join("deploy");
    sh.create_dir(&dir)?;
    let program = dir.join(PROGRAM);
    sh.copy_file(&built, &program)?;
    let mut files = vec![PathBuf::from(PROGRAM)];
    for (shell, name) in [("bash", "drawbridge.bash"), ("zsh", "_drawbridge"), ("fish", "drawbridge.fish")] {
        let script = cmd!(sh, "{program} completions {shell}").quiet().read()?;
        let place = Path::new("completions").join(name);
        sh.write_file(dir.join(&place), script + "\n")?;
        files.push(place);
    }
    let pages = dir.join("man");
    sh.remove_path(&pages)?;
    cmd!(sh, "{program} man {pages}").quiet().run()?;
    let mut written = sh.read_dir(&pages)?;
    written.sort();
    files.extend(written.iter().filter_map(|page| page.strip_prefix(&dir).ok().map(Path::to_owned)));
    checksums(sh, &dir, &files)?;

    let bytes = std::fs::metadata(&program)?.len();
    let start = start_time(&program)?;
    if json {
        let start_ms = start.as_secs_f64() * 1e3;
        println!(r#"{{"dir":{:?},"bytes":{bytes},"start_ms":{start_ms:.1}}}"#, dir.display().to_string());
    } else {
        println!("{}", dir.display());
        println!(
            "  {PROGRAM}: {:.1} MiB, starts in {:.1} ms",
            bytes as f64 / 1_048_576.0,
            start.as_secs_f64() * 1e3
        );
        println!("  {} files in all; their sums are in SHA256SUMS", files.len() + 1);
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes SHA256SUMS, as `sha256sum --check` reads it.
fn checksums(sh: &Shell, dir: &Path, files: &[PathBuf]) -> anyhow::Result<()> {
    let _dir = sh.push_dir(dir);
    // The one of GNU and busybox, or the one of macOS.
    let sums = cmd!(sh, "sha256sum {files...}")
        .quiet()
        .read()
        .or_else(|_| cmd!(sh, "shasum -a 256 {files...}").quiet().read())
        .context("neither `sha256sum` nor `shasum` runs")?;
    sh.write_file("SHA256SUMS", sums + "\n")?;
    Ok(())
}

/// Returns the shortest time that the program took from its start to the end of `--version`.
fn start_time(program: &Path) -> anyhow::Result<Duration> {
    let mut shortest = Duration::MAX;
    for _ in 0..STARTS {
        let began = Instant::now();
        let status = Command::new(program).arg("--version").stdout(Stdio::null()).status()?;
        shortest = shortest.min(began.elapsed());
        anyhow::ensure!(status.success(), "`{} --version` failed: {status}", program.display());
    }
    Ok(shortest)
}
