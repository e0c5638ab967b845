//! `cargo xtask bench tunnel`: the real program, the sandbox's agent with its real pacing, a plain TCP forward beside it.
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a bench prints figures and ends where it cannot go on"
)]

mod client;
mod forward;
mod official;
mod soak;
mod target;

use std::net::SocketAddr;
use std::time::Duration;

use client::{Figures, Load};
use forward::{Plain, Tunnel};
use official::Official;
use sandbox::gateway::{Options, Signatures};
use serde_json::json;
use tests::{Fixture, Want};
use tokio::runtime::Runtime;

/// How many sessions a tunnel may open, one run each.
const SESSIONS: [u8; 3] = [1, 4, 8];

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let json = args.iter().any(|argument| argument == "--json");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_stack_size(16 << 20)
        .enable_all()
        .build()
        .expect("a runtime can be built");
    if let Some(at) = args.iter().position(|argument| argument == "--soak-seconds") {
        let seconds = args.get(at + 1).and_then(|seconds| seconds.parse().ok());
        return soak::run(&runtime, Duration::from_secs(seconds.expect("a number of seconds follows")), json);
    }
    let fixture = runtime.block_on(async {
        // Official clients from before the end of 2025 do not sign their websocket.
        let unsigned = |gateway: &mut Options| gateway.signatures = Signatures::Optional;
        let fixture = Fixture::start_with(Want::ControlPlane, unsigned).await;
        fixture.run(&["up", "--yes"]).await.expect(0);
        fixture
    });
    let target = target::start();
    let rows = measure(&runtime, &fixture, target);
    if json {
        let rows: Vec<_> = rows.iter().map(|(name, figures)| figures.document(name)).collect();
        println!("{}", json!({ "profile": "dev", "cores": cores(), "rows": rows }));
    } else {
        print(&rows);
    }
    runtime.block_on(fixture.stop());
}

fn measure(runtime: &Runtime, fixture: &Fixture, target: SocketAddr) -> Vec<(String, Figures)> {
    let plain = Plain::start(target);
    let load = Load { connections: 4, upload_mib: 64 };
    let mut rows = vec![("plain TCP".to_owned(), Figures::measure(plain.address, None, load))];
    for sessions in SESSIONS {
        let tunnel = Tunnel::start(fixture, target, sessions);
        let load = Load { connections: sessions.into(), ..load };
        let figures = Figures::measure(tunnel.address, Some(tunnel.process()), load);
        rows.push((format!("tunnel, k = {sessions}"), figures));
        tunnel.stop();
    }
    if is_on_path(official::PROGRAM) {
        let official = runtime.block_on(Official::start(fixture, target));
        let load = Load { connections: 1, upload_mib: 2 };
        let figures = Figures::measure(official.address, Some(official.process()), load);
        rows.push(("official client".to_owned(), figures));
        official.stop();
    }
    rows
}

fn print(rows: &[(String, Figures)]) {
    let cores = cores();
    println!(
        "{cores} cores, dev profile, messages of 1 KiB; the agent pauses 1 ms after each, as real ones do\n"
    );
    println!(
        "{:<15} {:>9} {:>9} {:>13} {:>11} {:>11} {:>11} {:>9} {:>9}",
        "", "echo p50", "p99", "beside upload", "upload", "CPU", "download", "CPU", "memory"
    );
    println!(
        "{:<15} {:>9} {:>9} {:>13} {:>11} {:>11} {:>11} {:>9} {:>9}",
        "", "ms", "ms", "p50, ms", "MiB/s", "s per MiB", "MiB/s", "s per MiB", "MiB"
    );
    for (name, figures) in rows {
        println!(
            "{name:<15} {:>9.2} {:>9.2} {:>13.2} {:>11.1} {:>11} {:>11.2} {:>9} {:>9}",
            millis(figures.echo_p50),
            millis(figures.echo_p99),
            millis(figures.echo_beside_upload),
            figures.upload,
            optional(figures.upload_cpu, 4),
            figures.download,
            optional(figures.download_cpu, 3),
            optional(figures.memory_mib, 0),
        );
    }
    let one =
        rows.iter().find(|(name, _)| name.ends_with("= 1")).map_or(0.0, |(_, figures)| figures.download);
    println!();
    for (name, figures) in rows.iter().filter(|(name, _)| name.starts_with("tunnel")) {
        println!(
            "{name}: downloads {:.2} times one session, uploads at {:.1} % of the plain forward",
            figures.download / one,
            100.0 * figures.upload / rows[0].1.upload
        );
    }
    match rows.iter().find(|(name, _)| name.starts_with("official")) {
        Some((_, official)) => {
            for (name, figures) in rows.iter().filter(|(name, _)| name.starts_with("tunnel")) {
                println!(
                    "{name}: beside the official client: echo takes {:.2} of its time, uploads {:.0} times, downloads {:.1} times",
                    figures.echo_p50.as_secs_f64() / official.echo_p50.as_secs_f64(),
                    figures.upload / official.upload,
                    figures.download / official.download
                );
            }
        }
        None => println!("not compared: `{}` is not on PATH", official::PROGRAM),
    }
}

fn optional(figure: Option<f64>, digits: usize) -> String {
    figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.digits$}"))
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}

fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
