//! `cargo xtask bench provision`: `up` from nothing, an `up` with nothing to do and `down`, with 50 ms in every call and waits
//! that end at once, beside the longest chain of calls that need each other's answers.
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a bench prints figures and ends where it cannot go on"
)]

mod calls;
mod script;

use std::time::{Duration, Instant};

use calls::Calls;
use deploy::task::{down, up};
use serde_json::{Value, json};
use tests::{Fixture, Want};

/// What is added to every call: about what the service takes in a region nearby.
const LATENCY: Duration = Duration::from_millis(50);
const RUNS: usize = 3;

/// What one task costs at the least: the calls that need each other's answers.
const CHAINS: [(&str, u32); 4] = [
    // DescribeVpcs, CreateVpc, CreateSubnet, CreateDBSubnetGroup, CreateDBInstance, DescribeDBInstances
    ("up", 6),
    // DescribeVpcs, DescribeVpcAttribute; everything else is found by its tag meanwhile
    ("up, nothing to do", 2),
    // The same, once the emulator has thought of every answer: it does so for one call at a time.
    ("and once more", 2),
    // DeleteDBInstance, gone, DeleteSecurityGroup twice, DeleteVpc, the look that proves it
    ("down", 6),
];

/// What one task took.
#[derive(Clone, Debug)]
struct Figures {
    elapsed: Duration,
    calls: Calls,
}

fn main() {
    let json = std::env::args().any(|argument| argument == "--json");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_stack_size(16 << 20)
        .enable_all()
        .build()
        .expect("a runtime can be built");
    runtime.block_on(async {
        let fixture = Fixture::start_with(Want::ControlPlane, |gateway| gateway.latency = LATENCY).await;
        let call = one_call(&fixture).await;
        let mut rows: Vec<Vec<Figures>> = vec![Vec::new(); CHAINS.len()];
        // The first run finds caches cold, here and in the emulator.
        for run in 0..=RUNS {
            for (task, figures) in each_task(&fixture).await.into_iter().enumerate() {
                if run > 0 {
                    rows[task].push(figures);
                }
            }
            fixture.cloud.gateway().reset().await.expect("an empty account can be made new");
        }
        let rows: Vec<Figures> = rows.into_iter().map(median).collect();
        let script = script::run(&fixture).await;
        report(call, &rows, script.as_deref(), json);
        fixture.stop().await;
    });
}

/// Returns how long one call takes: the median of many, one after the other.
async fn one_call(fixture: &Fixture) -> Duration {
    let cloud =
        fixture.context.access.connect(&fixture.context.stack).await.expect("the sandbox can be reached");
    let mut took = Vec::new();
    for _ in 0..21 {
        let began = Instant::now();
        cloud.identity().await.expect("STS answers");
        took.push(began.elapsed());
    }
    took.sort();
    took[took.len() / 2]
}

async fn each_task(fixture: &Fixture) -> Vec<Figures> {
    let up = measure(fixture, async {
        up::converge(&fixture.context, &[]).await.expect("it comes up");
    })
    .await;
    let no_op = async || {
        let (_, _, steps) = up::converge(&fixture.context, &[]).await.expect("it is up");
        assert_eq!(steps, 0, "there is nothing to do");
    };
    let again = measure(fixture, no_op()).await;
    let once_more = measure(fixture, no_op()).await;
    let down = measure(fixture, async {
        down::demolish(&fixture.context).await.expect("it goes down");
    })
    .await;
    vec![up, again, once_more, down]
}

async fn measure(fixture: &Fixture, task: impl Future<Output = ()>) -> Figures {
    let before = fixture.cloud.gateway().journal().len();
    let began = Instant::now();
    Box::pin(task).await;
    let elapsed = began.elapsed();
    let journal = fixture.cloud.gateway().journal();
    Figures { elapsed, calls: Calls::of(&journal[before..]) }
}

fn median(mut runs: Vec<Figures>) -> Figures {
    runs.sort_by_key(|figures| figures.elapsed);
    runs.swap_remove(runs.len() / 2)
}

fn report(call: Duration, rows: &[Figures], script: Option<&[Duration]>, json: bool) {
    let rows = CHAINS.iter().zip(rows).enumerate().map(|(index, ((task, chain), figures))| {
        let floor = call * *chain;
        let ratio = figures.elapsed.as_secs_f64() / floor.as_secs_f64();
        let script = script
            .and_then(|script| script.get(index))
            .map(|time| (time.as_secs_f64(), time.as_secs_f64() / figures.elapsed.as_secs_f64()));
        (*task, *chain, figures, ratio, script)
    });
    if json {
        let rows: Vec<Value> = rows
            .map(|(task, chain, figures, ratio, script)| {
                json!({
                    "task": task,
                    "seconds": figures.elapsed.as_secs_f64(),
                    "chain": chain,
                    "of_floor": ratio,
                    "calls": figures.calls.count,
                    "rounds": figures.calls.rounds,
                    "most_in_flight": figures.calls.most_in_flight,
                    "script_seconds": script.map(|(seconds, _)| seconds),
                    "script_of_ours": script.map(|(_, ratio)| ratio),
                })
            })
            .collect();
        println!("{}", json!({ "call_ms": call.as_secs_f64() * 1e3, "rows": rows }));
        return;
    }
    println!(
        "one call takes {:.1} ms, of which {} are added\n",
        call.as_secs_f64() * 1e3,
        LATENCY.as_millis()
    );
    println!(
        "{:<18} {:>7} {:>6} {:>9} {:>6} {:>7} {:>10} {:>9} {:>8}",
        "", "s", "chain", "of floor", "calls", "rounds", "in flight", "aws, s", "of ours"
    );
    for (task, chain, figures, ratio, script) in rows {
        let (seconds, times) = script.map_or(("-".to_owned(), "-".to_owned()), |(seconds, times)| {
            (format!("{seconds:.1}"), format!("{times:.0}"))
        });
        println!(
            "{task:<18} {:>7.2} {chain:>6} {ratio:>9.2} {:>6} {:>7} {:>10} {seconds:>9} {times:>8}",
            figures.elapsed.as_secs_f64(),
            figures.calls.count,
            figures.calls.rounds,
            figures.calls.most_in_flight
        );
    }
    if script.is_none() {
        println!("\nnot compared: `aws` is not on PATH");
    }
}
