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

/// The calls that need each other's answers: of the bare job, and of ours, which holds a lock, launches the bastion after its
/// routes, and proves what it has done.
struct Chain {
    task: &'static str,
    bare: u32,
    ours: u32,
}

const CHAINS: [Chain; 4] = [
    // DescribeVpcs, CreateVpc, CreateSubnet, CreateDBSubnetGroup, CreateDBInstance, DescribeDBInstances;
    // a look, the lock, CreateVpc, AttachInternetGateway, CreateRoute, RunInstances, StartSession, TerminateSession, and two
    // that give the lock back
    Chain { task: "up", bare: 6, ours: 10 },
    // DescribeVpcs, DescribeVpcAttribute; everything else is found by its tag meanwhile
    Chain { task: "up, nothing to do", bare: 2, ours: 2 },
    // The same, once the emulator has thought of every answer: it does so for one call at a time.
    Chain { task: "and once more", bare: 2, ours: 2 },
    // DeleteDBInstance, gone, DeleteSecurityGroup twice, DeleteVpc, the look that proves it;
    // two looks, the lock, TerminateInstances, gone, DeleteDBSubnetGroup, DeleteSubnet, DeleteVpc, gone, the audit, and two
    // that give the lock back
    Chain { task: "down", bare: 6, ours: 12 },
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
    // An empty account is new to the emulator too, which makes all of it at the first look.
    fixture.context.observe().await.expect("the account can be observed");
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
    let rows = CHAINS.iter().zip(rows).enumerate().map(|(index, (chain, figures))| {
        let ratio = |calls: u32| figures.elapsed.as_secs_f64() / (call * calls).as_secs_f64();
        let script = script
            .and_then(|script| script.get(index))
            .map(|time| (time.as_secs_f64(), time.as_secs_f64() / figures.elapsed.as_secs_f64()));
        (chain, figures, ratio(chain.bare), ratio(chain.ours), script)
    });
    if json {
        let rows: Vec<Value> = rows
            .map(|(chain, figures, of_bare, of_ours, script)| {
                json!({
                    "task": chain.task,
                    "seconds": figures.elapsed.as_secs_f64(),
                    "bare_chain": chain.bare,
                    "of_bare_chain": of_bare,
                    "chain": chain.ours,
                    "of_chain": of_ours,
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
        "{:<18} {:>7} {:>6} {:>6} {:>6} {:>6} {:>6} {:>7} {:>10} {:>8} {:>8}",
        "", "s", "bare", "of it", "ours", "of it", "calls", "rounds", "in flight", "aws, s", "of ours"
    );
    for (chain, figures, of_bare, of_ours, script) in rows {
        let (seconds, times) = script.map_or(("-".to_owned(), "-".to_owned()), |(seconds, times)| {
            (format!("{seconds:.1}"), format!("{times:.0}"))
        });
        println!(
            "{:<18} {:>7.2} {:>6} {of_bare:>6.2} {:>6} {of_ours:>6.2} {:>6} {:>7} {:>10} {seconds:>8} {times:>8}",
            chain.task,
            figures.elapsed.as_secs_f64(),
            chain.bare,
            chain.ours,
            figures.calls.count,
            figures.calls.rounds,
            figures.calls.most_in_flight
        );
    }
    if script.is_none() {
        println!("\nnot compared: `aws` is not on PATH");
    }
}
