//! The figures, as a table and as ratios.

use std::time::Duration;

use serde_json::{Value, json};

use crate::client::Kind;
use crate::peers::{PEERS, Peer};
use crate::{Cost, DEFAULT_JOBS, JOBS, ROUNDS, Row, Runner, Size};

/// Prints everything; `connecting` is the round trips of a login.
pub(crate) fn print(rows: &[Row], size: Size, connecting: f64, json: bool) {
    let ratios = ratios(rows);
    if json {
        let rows: Vec<Value> = rows.iter().map(document).collect();
        let ratios: Vec<Value> = ratios.iter().map(Ratio::document).collect();
        let document = json!({
            "profile": "dev", "cores": cores(), "connecting": connecting, "rows": rows, "ratios": ratios,
        });
        return println!("{document}");
    }
    println!(
        "{} cores, dev profile, {} migrations, TLS for `migrate` and `one batch`, none for the others;\n\
         ms a tenant; fewer than {} tenants are a sample\n",
        cores(),
        crate::files::COUNT,
        size.tenants
    );
    for is_far in [false, true] {
        table(is_far, rows);
    }
    for row in rows.iter().filter(|row| row.is_far && row.runner == Runner::Ours(Kind::Engine, JOBS)) {
        let after = |cost: Cost| cost.trips - connecting;
        println!(
            "round trips of migrate: {connecting:.1} to connect, of which TLS takes 2; then {:.1} first, {:.1} with nothing to do, {:.1} with one new",
            after(row.first),
            after(row.idle),
            after(row.new)
        );
    }
    for ratio in &ratios {
        let held = if ratio.holds() { "" } else { "  MISSED" };
        println!("{}: {:.2} (target: {} {}){held}", ratio.name, ratio.value, ratio.word(), ratio.target);
    }
    for peer in PEERS.iter().filter(|peer| !peer.is_on_path()) {
        println!("not compared: `{}` is not on PATH", peer.program());
    }
}

fn table(is_far: bool, rows: &[Row]) {
    println!(
        "{:<26} {:>7} {:>8} {:>8} {:>8} {:>20} {:>20} {:>20}",
        if is_far { "20 ms each way" } else { "locally" },
        "tenants",
        "first",
        "no-op",
        "one new",
        "server's CPU",
        "client's CPU",
        if is_far { "round trips" } else { "" }
    );
    for row in rows.iter().filter(|row| row.is_far == is_far) {
        let Row { first, idle, new, .. } = row;
        let three = |figure: &dyn Fn(&Cost) -> String| {
            format!("{:>6} {:>6} {:>6}", figure(first), figure(idle), figure(new))
        };
        let trips = if is_far { three(&|cost| format!("{:.1}", cost.trips)) } else { String::new() };
        println!(
            "{:<26} {:>7} {:>8.1} {:>8.1} {:>8.1} {:>20} {:>20} {trips:>20}",
            row.runner.name(),
            row.tenants,
            millis(first.time),
            millis(idle.time),
            millis(new.time),
            three(&|cost| format!("{:.1}", millis(cost.server))),
            three(&|cost| cost
                .client
                .map_or_else(|| "-".to_owned(), |client| format!("{:.1}", millis(client))))
        );
    }
    println!();
}

/// A figure that has a target.
struct Ratio {
    name: &'static str,
    value: f64,
    target: f64,
    more_is_better: bool,
}

impl Ratio {
    fn holds(&self) -> bool {
        if self.more_is_better { self.value >= self.target } else { self.value <= self.target }
    }

    fn word(&self) -> &'static str {
        if self.more_is_better { "at least" } else { "at most" }
    }

    fn document(&self) -> Value {
        json!({ "name": self.name, "value": self.value, "target": self.target, "holds": self.holds() })
    }
}

fn ratios(rows: &[Row]) -> Vec<Ratio> {
    let find = |runner, is_far| rows.iter().find(|row| row.runner == runner && row.is_far == is_far);
    let by_default = Runner::Ours(Kind::Engine, DEFAULT_JOBS);
    let mut ratios = Vec::new();
    let mut more = |name, (peer, ours), figure: &dyn Fn(&Row) -> Duration, target| {
        if let (Some(peer), Some(ours)) = (find(peer, true), find(ours, true)) {
            let value = figure(peer).as_secs_f64() / figure(ours).as_secs_f64();
            ratios.push(Ratio { name, value, target, more_is_better: true });
        }
    };
    let serial = (Runner::Peer(Peer::Refinery), by_default);
    more("20 ms, first run: serial refinery_cli to migrate", serial, &|row| row.first.time, 70.0);
    more("20 ms, no-op: serial refinery_cli to migrate", serial, &|row| row.idle.time, 30.0);
    let parallel = (Runner::Ours(Kind::Refinery, JOBS), Runner::Ours(Kind::Engine, JOBS));
    more(
        "20 ms, first run: refinery run_async to migrate, both k = 16",
        parallel,
        &|row| row.first.time,
        4.0,
    );
    for (name, kind, is_server) in [
        ("locally, first run: migrate to one batch, each at its best k", Kind::Floor, false),
        ("the same, no TLS for the batch", Kind::BareFloor, false),
        ("the same, the server's CPU", Kind::Floor, true),
    ] {
        let figure = |cost: &Cost| if is_server { cost.server } else { cost.time };
        let best = |wanted: Kind, round: usize| {
            let same = rows.iter().filter(|row| !row.is_far && row.rounds.len() == ROUNDS);
            let same = same.filter(|row| matches!(row.runner, Runner::Ours(kind, _) if kind == wanted));
            same.filter_map(|row| row.rounds.get(round)).map(figure).min()
        };
        let round = |round| Some((best(kind, round)?, best(Kind::Engine, round)?));
        let pairs = (0..ROUNDS).map_while(round);
        let mut values: Vec<f64> =
            pairs.map(|(floor, ours)| ours.as_secs_f64() / floor.as_secs_f64()).collect();
        values.sort_by(f64::total_cmp);
        if let Some(&value) = values.get(values.len() / 2) {
            ratios.push(Ratio { name, value, target: 1.15, more_is_better: false });
        }
    }
    ratios
}

fn document(row: &Row) -> Value {
    let cost = |cost: &Cost| {
        json!({
            "ms": millis(cost.time),
            "server_cpu_ms": millis(cost.server),
            "client_cpu_ms": cost.client.map(millis),
            // Without a delay, answers overtake questions and cannot be told apart.
            "round_trips": row.is_far.then_some(cost.trips),
        })
    };
    json!({
        "name": row.runner.name(),
        "delay_ms": if row.is_far { 20 } else { 0 },
        "tenants": row.tenants,
        "first": cost(&row.first),
        "no_op": cost(&row.idle),
        "one_new": cost(&row.new),
    })
}

pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}
