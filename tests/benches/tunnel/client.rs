//! What a user of a local port sees, and what it costs.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::target::{ECHO, SINK, SOURCE};

const MIB: usize = 1 << 20;
const ECHOES: usize = 500;
/// On each connection: a session delivers less than one a second.
const DOWNLOAD: usize = 3 * MIB;

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Connections that download at once.
    pub(crate) connections: usize,
    /// MiB to upload: enough for a second or two.
    pub(crate) upload_mib: usize,
}

/// One way to the target, measured.
pub(crate) struct Figures {
    pub(crate) echo_p50: Duration,
    pub(crate) echo_p99: Duration,
    /// The median of another connection's echo while one uploads.
    pub(crate) echo_beside_upload: Duration,
    /// MiB a second.
    pub(crate) upload: f64,
    /// Seconds of the process for a MiB.
    pub(crate) upload_cpu: Option<f64>,
    /// MiB a second, over all connections.
    pub(crate) download: f64,
    /// Seconds of the process for a MiB.
    pub(crate) download_cpu: Option<f64>,
    /// The most that the process ever had.
    pub(crate) memory_mib: Option<f64>,
}

impl Figures {
    /// Measures a way, and the process behind it if it has one of its own.
    pub(crate) fn measure(address: SocketAddr, process: Option<u32>, load: Load) -> Figures {
        let Load { connections, upload_mib } = load;
        let upload_bytes = upload_mib * MIB;
        let echo = echo(address, ECHOES, &AtomicBool::new(true));
        let (upload, upload_cpu) = rate(process, upload_bytes, || upload_once(address, upload_bytes));
        let beside = {
            let going_on = AtomicBool::new(true);
            std::thread::scope(|scope| {
                let echoes = scope.spawn(|| self::echo(address, usize::MAX, &going_on));
                upload_once(address, upload_bytes);
                going_on.store(false, Ordering::Relaxed);
                echoes.join().expect("the echo goes on")
            })
        };
        let (download, download_cpu) = rate(process, DOWNLOAD * connections, || {
            std::thread::scope(|scope| {
                for _ in 0..connections {
                    scope.spawn(|| download_once(address));
                }
            });
        });
        Figures {
            echo_p50: quantile(&echo, 50),
            echo_p99: quantile(&echo, 99),
            echo_beside_upload: quantile(&beside, 50),
            upload,
            upload_cpu,
            download,
            download_cpu,
            memory_mib: process.map(peak_mib),
        }
    }

    pub(crate) fn document(&self, name: &str) -> Value {
        json!({
            "name": name,
            "echo_p50_ms": self.echo_p50.as_secs_f64() * 1e3,
            "echo_p99_ms": self.echo_p99.as_secs_f64() * 1e3,
            "echo_beside_upload_ms": self.echo_beside_upload.as_secs_f64() * 1e3,
            "upload_mib_s": self.upload,
            "upload_cpu_s_per_mib": self.upload_cpu,
            "download_mib_s": self.download,
            "download_cpu_s_per_mib": self.download_cpu,
            "peak_memory_mib": self.memory_mib,
        })
    }
}

pub(crate) fn quantile(times: &[Duration], percent: usize) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    // The hundredth percentile is the longest.
    times.get((times.len() * percent / 100).min(times.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// Returns MiB a second and the process's seconds for each MiB.
fn rate(process: Option<u32>, bytes: usize, work: impl FnOnce()) -> (f64, Option<f64>) {
    let (before, begun) = (process.map(cpu_seconds), Instant::now());
    work();
    let mib = bytes as f64 / MIB as f64;
    let spent = process.map(cpu_seconds).zip(before).map(|(after, before)| (after - before) / mib);
    (mib / begun.elapsed().as_secs_f64(), spent)
}

pub(crate) fn connect(address: SocketAddr, what: u8, bytes: Option<usize>) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("the way is open");
    stream.set_nodelay(true).expect("it is a socket");
    let mut order = vec![what];
    order.extend(bytes.iter().flat_map(|bytes| (*bytes as u64).to_be_bytes()));
    stream.write_all(&order).expect("the way is open");
    stream
}

/// One byte there and back, again and again.
pub(crate) fn echo(address: SocketAddr, most: usize, going_on: &AtomicBool) -> Vec<Duration> {
    let mut stream = connect(address, ECHO, None);
    let mut times = Vec::new();
    let mut byte = [7];
    while times.len() < most && going_on.load(Ordering::Relaxed) {
        let begun = Instant::now();
        stream.write_all(&byte).expect("the way is open");
        stream.read_exact(&mut byte).expect("the way is open");
        times.push(begun.elapsed());
    }
    times
}

fn upload_once(address: SocketAddr, bytes: usize) {
    let mut stream = connect(address, SINK, Some(bytes));
    let block = vec![1; MIB];
    for _ in 0..bytes / MIB {
        stream.write_all(&block).expect("the way is open");
    }
    stream.read_exact(&mut [0]).expect("the target has it all");
}

fn download_once(address: SocketAddr) {
    let mut stream = connect(address, SOURCE, Some(DOWNLOAD));
    stream.read_exact(&mut vec![0; DOWNLOAD]).expect("the target sends it all");
}

/// User and system time, from `/proc/PID/stat` (proc(5), fields 14 and 15, in hundredths).
fn cpu_seconds(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("Linux tells");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks: f64 = fields[11..=12].iter().map(|ticks| ticks.parse::<f64>().unwrap_or(0.0)).sum();
    ticks / 100.0
}

pub(crate) fn peak_mib(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("");
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0) / 1024.0
}
