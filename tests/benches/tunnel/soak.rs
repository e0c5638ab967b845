//! `cargo xtask soak`: the real program on the worst of lines, beside a reader that stops, and under PostgreSQL's tools.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use sandbox::gateway::Disconnect;
use sandbox::{AgentOptions, LineFaults, Pacing};
use serde_json::{Value, json};
use tests::{Fixture, Want};
use tokio::runtime::Runtime;

use crate::client::{connect, echo, peak_mib, quantile};
use crate::forward::Tunnel;
use crate::target::{self, ECHO, SOURCE};

const STREAMS: u64 = 16;
const SESSIONS: u8 = 4;
/// How far a writer may be ahead of its reader: the kernel's buffers alone would take minutes to empty.
const AHEAD: usize = 64;
const BLOCK: usize = 4096;
const CUT_EVERY: Duration = Duration::from_secs(3);
/// What a reader that stops leaves behind, in all.
const FLOOD: usize = 64 << 20;
const MEMORY_LIMIT_MIB: f64 = 64.0;
const ECHO_LIMIT: Duration = Duration::from_millis(50);

/// Runs all parts; ends the program with 1 if one of them does not hold.
pub(crate) fn run(runtime: &Runtime, time: Duration, json: bool) {
    let parts = [worst_line(runtime, time), stopped_reader(runtime, time)];
    for part in &parts {
        if json {
            println!("{}", part.document());
        } else {
            println!(
                "{}: {}{}",
                part.name,
                part.figures(),
                if part.holds() { "" } else { " -- DOES NOT HOLD" }
            );
        }
    }
    if !parts.iter().all(Part::holds) {
        std::process::exit(1);
    }
}

/// One part, with its figures and the claims that it was to show.
struct Part {
    name: &'static str,
    figures: Vec<(&'static str, f64)>,
    claims: Vec<(&'static str, bool)>,
}

impl Part {
    fn holds(&self) -> bool {
        self.claims.iter().all(|(_, holds)| *holds)
    }

    fn figures(&self) -> String {
        let figures = self.figures.iter().map(|(name, value)| format!("{name} {value:.1}"));
        let broken = self.claims.iter().filter(|(_, holds)| !holds).map(|(claim, _)| format!("NOT: {claim}"));
        figures.chain(broken).collect::<Vec<_>>().join(", ")
    }

    fn document(&self) -> Value {
        let figures: serde_json::Map<_, _> =
            self.figures.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let claims: serde_json::Map<_, _> =
            self.claims.iter().map(|(claim, holds)| ((*claim).to_owned(), json!(holds))).collect();
        json!({ "part": self.name, "figures": figures, "claims": claims, "holds": self.holds() })
    }
}

/// Starts a sandbox with such agents and the whole stack in it, without a database.
fn start(runtime: &Runtime, tune: impl FnOnce(&mut AgentOptions)) -> Fixture {
    runtime.block_on(async {
        let fixture = Fixture::start_agent(Want::ControlPlane, tune).await;
        fixture.run(&["up", "--yes"]).await.expect(0);
        fixture
    })
}

/// Sixteen connections echo without end while 1 % of frames are lost, 5 % come twice, 5 % are overtaken, each waits up
/// to 20 ms, and every three seconds either the client's or the agent's websocket is lost.
fn worst_line(runtime: &Runtime, time: Duration) -> Part {
    let fixture = start(runtime, |agent| {
        agent.line = LineFaults {
            loss: 0.01,
            duplicates: 0.05,
            reordering: 0.05,
            jitter: Duration::from_millis(20),
            // With the client's cuts, which come as often, one every three seconds.
            outage_every: CUT_EVERY * 2,
            outage_for: Duration::from_millis(20),
            seed: 1,
        };
    });
    let tunnel = Tunnel::start(&fixture, target::start(), SESSIONS);
    let (over, cuts, bytes) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let intact = std::thread::scope(|scope| {
        let streams: Vec<_> = (0..STREAMS)
            .map(|number| {
                scope.spawn({
                    let (over, bytes, address) = (&over, &bytes, tunnel.address);
                    move || echo_pattern(address, number, over, bytes)
                })
            })
            .collect();
        let end = Instant::now() + time;
        while Instant::now() + CUT_EVERY * 2 < end {
            pass(CUT_EVERY * 2);
            let disconnect = if cuts.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
                Disconnect::Closed
            } else {
                Disconnect::Silent
            };
            fixture.cloud.gateway().disconnect(disconnect);
        }
        pass(end.saturating_duration_since(Instant::now()));
        over.store(true, Ordering::Relaxed);
        streams.into_iter().all(|stream| stream.join().is_ok_and(|intact| intact))
    });
    let memory = peak_mib(tunnel.process());
    tunnel.stop();
    let sessions_left = fixture.cloud.gateway().live_sessions();
    runtime.block_on(fixture.stop());
    let mib = bytes.into_inner() as f64 / f64::from(1 << 20);
    Part {
        name: "worst line",
        figures: vec![
            ("seconds", time.as_secs_f64()),
            ("cuts", cuts.into_inner() as f64),
            ("MiB each way", mib),
            ("MiB/s", mib / time.as_secs_f64()),
            ("memory MiB", memory),
        ],
        claims: vec![
            ("every byte arrived once and in order on every connection", intact && mib > 1.0),
            ("no session is left", sessions_left == 0),
            ("memory stays under 64 MiB", memory < MEMORY_LIMIT_MIB),
        ],
    }
}

/// Writes a sequence that never repeats until it is over, reads it back, and says whether all of it came.
fn echo_pattern(address: SocketAddr, seed: u64, over: &AtomicBool, bytes: &AtomicU64) -> bool {
    let mut reader = connect(address, ECHO, None);
    let mut writer = reader.try_clone().expect("a socket can be shared");
    let (ahead, done) = sync_channel(AHEAD);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut sequence = Sequence::new(seed);
            let mut block = vec![0; BLOCK];
            // It ends with the reader, too.
            while !over.load(Ordering::Relaxed) && ahead.send(()).is_ok() {
                sequence.fill(&mut block);
                writer.write_all(&block).expect("the way is open");
            }
            drop(ahead);
        });
        let mut sequence = Sequence::new(seed);
        let (mut block, mut expected) = (vec![0; BLOCK], vec![0; BLOCK]);
        // Taken before it is read, so that there is always one more than AHEAD on the way at the most.
        while done.recv().is_ok() {
            reader.read_exact(&mut block).expect("the way is open");
            sequence.fill(&mut expected);
            if block != expected {
                // Ends the writer too.
                drop(reader.shutdown(Shutdown::Both));
                return false;
            }
            bytes.fetch_add(block.len() as u64, Ordering::Relaxed);
        }
        true
    })
}

/// SplitMix64 (Steele, Lea, Flood 2014): any byte that is lost, repeated or exchanged shows.
struct Sequence(u64);

impl Sequence {
    fn new(seed: u64) -> Sequence {
        Sequence(seed << 32)
    }

    fn fill(&mut self, block: &mut [u8]) {
        for word in block.chunks_exact_mut(8) {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes());
        }
    }
}

/// A reader stops in the middle of 64 MiB from an agent that never does, and goes on later; another connection echoes.
fn stopped_reader(runtime: &Runtime, time: Duration) -> Part {
    // As fast as it can: what a minute at the real pace leaves behind comes at once.
    let fixture = start(runtime, |agent| agent.pacing = Pacing::Unlimited);
    let tunnel = Tunnel::start(&fixture, target::start(), SESSIONS);
    let mut flood = connect(tunnel.address, SOURCE, Some(FLOOD));
    let half = drain(&mut flood, FLOOD / 2);
    let going_on = AtomicBool::new(true);
    let echoes = std::thread::scope(|scope| {
        let echoes = scope.spawn(|| echo(tunnel.address, usize::MAX, &going_on));
        pass(time);
        going_on.store(false, Ordering::Relaxed);
        echoes.join().expect("the echo goes on")
    });
    // The first waits for a session to be started.
    let echoes = echoes.get(1..).unwrap_or_default();
    let all = half + drain(&mut flood, FLOOD - FLOOD / 2);
    let memory = peak_mib(tunnel.process());
    tunnel.stop();
    runtime.block_on(fixture.stop());
    let [p50, p99, most] = [50, 99, 100].map(|percent| quantile(echoes, percent));
    Part {
        name: "stopped reader",
        figures: vec![
            ("seconds", time.as_secs_f64()),
            ("MiB", all as f64 / f64::from(1 << 20)),
            ("echoes", echoes.len() as f64),
            ("echo p50 ms", p50.as_secs_f64() * 1e3),
            ("p99 ms", p99.as_secs_f64() * 1e3),
            ("longest ms", most.as_secs_f64() * 1e3),
            ("memory MiB", memory),
        ],
        claims: vec![
            ("the reader gets all of it", all == FLOOD),
            ("another connection's echo stays under 50 ms", most < ECHO_LIMIT && echoes.len() > 1000),
            ("memory stays under 64 MiB", memory < MEMORY_LIMIT_MIB),
        ],
    }
}

/// Lets time pass; a park alone may end early.
fn pass(time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        std::thread::park_timeout(end.saturating_duration_since(Instant::now()));
    }
}

/// Reads so many bytes, or as many as come.
fn drain(stream: &mut TcpStream, bytes: usize) -> usize {
    let (mut block, mut left) = (vec![0; 1 << 16], bytes);
    while left > 0 {
        let most = left.min(block.len());
        match stream.read(&mut block[..most]) {
            Ok(length @ 1..) => left -= length,
            _ => break,
        }
    }
    bytes - left
}
