//! `cargo xtask bench migrate`: the engine beside what one batch costs, refinery and other programs, on a real PostgreSQL.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::expect_used,
    reason = "a bench prints figures and ends where it cannot go on"
)]

mod client;
mod cluster;
mod files;
mod many;
mod peers;
mod process;
mod proxy;
mod report;

use std::time::Duration;

use client::{Kind, Order};
use cluster::Tenants;
use peers::{PEERS, Peer};
use tokio::runtime::Runtime;

/// How many tenants those that are compared have in hand.
const JOBS: usize = 16;
/// How many `migrate` has by itself, on a server with so much room.
const DEFAULT_JOBS: usize = 32;
/// How often what is held against the floor is measured, by turns: a machine whose speed changes hits both, and the ratio
/// of a round is worth more than that of two good moments.
const ROUNDS: usize = 11;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let has = |wanted: &str| args.iter().any(|argument| argument == wanted);
    if has(client::ARGUMENT) {
        return client::main();
    }
    let number = |name: &str| {
        let at = args.iter().position(|argument| argument == name)?;
        args.get(at + 1).and_then(|number| number.parse::<usize>().ok())
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("a runtime can be built");
    let size = Size {
        tenants: number("--tenants").unwrap_or(300).max(1),
        sample: number("--sample").unwrap_or(6).max(1),
        only_far: has("--far").then_some(true).or(has("--near").then_some(false)),
    };
    let major = number("--postgres").and_then(|major| u16::try_from(major).ok()).unwrap_or(16);
    let tenants = runtime.block_on(Tenants::start(major));
    let mut bench = Bench { runtime: &runtime, tenants, size };
    if let Some(count) = number("--many") {
        let many = many::measure(&mut bench, count);
        many.print(has("--json"));
    } else {
        let rows = bench.measure();
        let trips = bench.connecting();
        report::print(&rows, size, trips, has("--json"));
    }
    runtime.block_on(bench.tenants.stop());
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Size {
    /// Whoever is quick has them all.
    tenants: usize,
    /// Whoever takes seconds for each has so many; parallel ones sixteen times as many, so that all are at work for most
    /// of the time.
    sample: usize,
    /// Only with the delay, or only without.
    only_far: Option<bool>,
}

/// Who migrates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Runner {
    Ours(Kind, usize),
    Peer(Peer),
}

impl Runner {
    fn name(self) -> String {
        match self {
            Runner::Ours(kind, jobs) => {
                let name = match kind {
                    Kind::Engine => "migrate",
                    Kind::Floor => "one batch",
                    Kind::BareFloor => "one batch, no TLS",
                    Kind::Refinery => "refinery run_async",
                    Kind::Login => "login",
                };
                format!("{name}, k = {jobs}")
            }
            Runner::Peer(peer) => format!("{}, k = 1", peer.name()),
        }
    }
}

/// What one tenant cost, on average.
#[derive(Clone, Copy, Debug)]
struct Cost {
    time: Duration,
    server: Duration,
    client: Option<Duration>,
    trips: f64,
}

/// A runner on a line.
#[derive(Clone, Debug)]
struct Row {
    runner: Runner,
    is_far: bool,
    tenants: usize,
    first: Cost,
    idle: Cost,
    new: Cost,
    /// The first run of each round.
    rounds: Vec<Cost>,
}

impl Row {
    fn is_same(&self, other: &Row) -> bool {
        (self.runner, self.is_far) == (other.runner, other.is_far)
    }

    /// Takes the other's figures where they are better: whatever disturbs a run makes it slower.
    fn keep_best(&mut self, other: &Row) {
        self.rounds.extend(other.rounds.iter().copied());
        for (cost, other) in
            [(&mut self.first, other.first), (&mut self.idle, other.idle), (&mut self.new, other.new)]
        {
            cost.time = cost.time.min(other.time);
            cost.server = cost.server.min(other.server);
            cost.client = cost.client.min(other.client);
        }
    }
}

struct Bench<'a> {
    runtime: &'a Runtime,
    tenants: Tenants,
    size: Size,
}

impl Bench<'_> {
    fn measure(&mut self) -> Vec<Row> {
        let Size { tenants, sample, only_far } = self.size;
        let (few, some) = (sample.min(tenants), (sample * JOBS).min(tenants));
        let part = some.div_ceil(3);
        let ours = |kind, jobs, count| (Runner::Ours(kind, jobs), count);
        let peers = PEERS.into_iter().filter(|peer| peer.is_on_path());
        let mut compared = vec![
            ours(Kind::Floor, 4, part),
            ours(Kind::Engine, 4, part),
            ours(Kind::Floor, 8, part),
            ours(Kind::Engine, 8, part),
            ours(Kind::Floor, JOBS, part),
            ours(Kind::Engine, JOBS, part),
            ours(Kind::BareFloor, 8, part),
        ];
        let mut near = vec![
            ours(Kind::Engine, DEFAULT_JOBS, some),
            ours(Kind::Refinery, 1, few),
            ours(Kind::Refinery, JOBS, some),
        ];
        let mut far = vec![
            ours(Kind::Floor, JOBS, some),
            ours(Kind::Engine, 1, few),
            ours(Kind::Engine, JOBS, tenants),
            ours(Kind::Engine, DEFAULT_JOBS, tenants),
            ours(Kind::BareFloor, JOBS, some),
            ours(Kind::Refinery, 1, few),
            ours(Kind::Refinery, JOBS, some),
        ];
        for peer in peers {
            near.push((Runner::Peer(peer), few));
            far.push((Runner::Peer(peer), few));
        }
        match only_far {
            Some(true) => {
                compared.clear();
                near.clear();
            }
            Some(false) => far.clear(),
            None => {}
        }
        let far = far.into_iter().map(|one| (one, true));
        let mut rows: Vec<Row> = Vec::new();
        // One after the other, round by round: what else the machine does must not hit one of them alone.
        let rounds = (0..ROUNDS).flat_map(|_| compared.clone());
        let near = rounds.chain(near).map(|one| (one, false));
        for ((runner, count), is_far) in near.chain(far) {
            let row = self.row(runner, count, is_far);
            match rows.iter_mut().find(|known| known.is_same(&row)) {
                Some(known) => known.keep_best(&row),
                None => rows.push(row),
            }
        }
        rows
    }

    fn row(&mut self, runner: Runner, count: usize, is_far: bool) -> Row {
        let place = if is_far { "20 ms each way" } else { "locally" };
        eprintln!("{}, {place}, {count} tenants", runner.name());
        let databases = self.runtime.block_on(self.tenants.make(count, "template0"));
        let cost = |from, to| self.cost(runner, &databases, is_far, (from, to));
        let first = cost(0, files::COUNT);
        let idle = cost(files::COUNT, files::COUNT);
        let new = cost(files::COUNT, files::COUNT + 1);
        self.runtime.block_on(self.tenants.remove(databases));
        Row { runner, is_far, tenants: count, first, idle, new, rounds: vec![first] }
    }

    fn cost(&self, runner: Runner, databases: &[String], is_far: bool, files: (usize, usize)) -> Cost {
        let ways = if is_far { &self.tenants.far } else { &self.tenants.near };
        let way = match runner {
            Runner::Ours(Kind::Engine | Kind::Floor | Kind::Login, _) => &ways.tls,
            Runner::Ours(Kind::BareFloor | Kind::Refinery, _) | Runner::Peer(_) => &ways.clear,
        };
        let before = (self.runtime.block_on(self.tenants.cpu()), way.trips());
        let (time, client) = match runner {
            Runner::Ours(kind, jobs) => {
                let (address, authority) = (way.address, self.tenants.authority.as_str());
                let spent = Order { kind, address, authority, databases, jobs, files }.run();
                (spent.time, Some(spent.cpu))
            }
            Runner::Peer(peer) => (peer.run(self.tenants.dir(), way.address, databases, files), None),
        };
        let server = self.runtime.block_on(self.tenants.cpu()) - before.0;
        let count = u32::try_from(databases.len()).unwrap_or(u32::MAX);
        Cost {
            time: time / count,
            server: server / count,
            client: client.map(|client| client / count),
            trips: (way.trips() - before.1) as f64 / f64::from(count),
        }
    }

    /// Returns the round trips of a login alone.
    fn connecting(&mut self) -> f64 {
        let databases = self.runtime.block_on(self.tenants.make(1, "template0"));
        let cost = self.cost(Runner::Ours(Kind::Login, 1), &databases, true, (0, 0));
        self.runtime.block_on(self.tenants.remove(databases));
        cost.trips
    }
}
