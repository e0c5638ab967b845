//! Thousands of tenants with nothing to do: the time of each, and the memory of all.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::client::{Kind, Order, Spent};
use crate::report::{cores, millis};
use crate::{Bench, JOBS, files};

/// How much of the disk is left alone.
const SPARE_BYTES: u64 = 10 << 30;

/// What it came to.
pub(crate) struct Many {
    databases: usize,
    runs: Vec<(usize, Spent)>,
}

/// Measures a tenth of them, and all; twice, as the first visit of a database is slower.
pub(crate) fn measure(bench: &mut Bench<'_>, count: usize) -> Many {
    let (runtime, size) =
        (bench.runtime, |bench: &Bench<'_>, name: &str| bench.runtime.block_on(bench.tenants.bytes(name)));
    let template = runtime.block_on(bench.tenants.make(1, "template0"));
    run(bench, &template, (0, files::COUNT));
    let (each, free) = (size(bench, &template[0]).max(1), free_bytes(bench.tenants.dir()));
    let fit = usize::try_from(free.saturating_sub(SPARE_BYTES) / each).unwrap_or(usize::MAX).max(JOBS);
    let made = count.min(fit);
    eprintln!("{made} databases of {:.1} MiB", each as f64 / f64::from(1 << 20));
    let databases = runtime.block_on(bench.tenants.make(made, &template[0]));
    // Where the disk is too small, one is visited again long after it was.
    let visits: Vec<String> = databases.iter().cycle().take(count).cloned().collect();
    let mut runs = Vec::new();
    for _ in 0..2 {
        for count in [count.div_ceil(10), count] {
            runs.push((count, run(bench, &visits[..count], (files::COUNT, files::COUNT))));
        }
    }
    Many { databases: made, runs }
}

fn run(bench: &Bench<'_>, databases: &[String], files: (usize, usize)) -> Spent {
    let (address, authority) = (bench.tenants.near.tls.address, bench.tenants.authority.as_str());
    Order { kind: Kind::Engine, address, authority, databases, jobs: JOBS, files }.run()
}

/// Returns what the file system has left; nothing if it does not tell.
fn free_bytes(dir: &Path) -> u64 {
    let output = Command::new("df").args(["--output=avail", "--block-size=1"]).arg(dir).output();
    let told = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    told.lines().nth(1).and_then(|bytes| bytes.trim().parse().ok()).unwrap_or(0)
}

impl Many {
    pub(crate) fn print(&self, json: bool) {
        if json {
            let runs = self.runs.iter().map(|(count, spent)| {
                json!({
                    "tenants": count,
                    "ms": millis(spent.time) / *count as f64,
                    "client_cpu_ms": millis(spent.cpu) / *count as f64,
                    "peak_memory_mib": spent.peak_mib,
                })
            });
            let runs: Vec<_> = runs.collect();
            return println!("{}", json!({ "databases": self.databases, "cores": cores(), "runs": runs }));
        }
        println!("{} cores, dev profile, k = {JOBS}, {} databases, nothing to do\n", cores(), self.databases);
        println!("{:>7} {:>12} {:>15} {:>11}", "tenants", "ms a tenant", "client's CPU, ms", "peak, MiB");
        for (count, spent) in &self.runs {
            println!(
                "{count:>7} {:>12.2} {:>15.2} {:>11.1}",
                millis(spent.time) / *count as f64,
                millis(spent.cpu) / *count as f64,
                spent.peak_mib
            );
        }
    }
}
