//! The tunnel on the worst of lines: every byte arrives once and in order.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use deploy::bridge::{Bridge, Route, Silence};
use sandbox::LineFaults;
use sandbox::gateway::Disconnect;
use tests::{Fixture, LIMIT, Want, block_on};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const STREAMS: usize = 16;

/// How many each stream sends, and gets back.
fn bytes() -> usize {
    if tests::sweeps_fully() { 128 << 10 } else { 64 << 10 }
}

/// Sends everything back, for as long as the test's runtime lives.
async fn echo_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
    let port = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = socket.split();
                drop(tokio::io::copy(&mut read, &mut write).await);
            });
        }
    });
    port
}

/// Bytes that differ from stream to stream and repeat only after 251 * 256.
fn pattern(stream: usize) -> Vec<u8> {
    (0..bytes()).map(|at| (at / 256 + at * 7 + stream * 31) as u8).collect()
}

async fn echo(stream: tunnel::Stream, number: usize) {
    let (mut read, mut write) = tokio::io::split(stream);
    let sent = pattern(number);
    let mut back = vec![0; bytes()];
    let (written, read) = tokio::join!(write.write_all(&sent), read.read_exact(&mut back));
    written.unwrap_or_else(|error| panic!("stream {number}: {error}"));
    read.unwrap_or_else(|error| panic!("stream {number}: {error}"));
    assert!(back == sent, "stream {number}: what came back differs");
}

#[test]
fn sixteen_streams_survive_losses_duplicates_reordering_jitter_and_cuts_at_once() {
    block_on(async {
        let fixture = Fixture::start_agent(Want::ControlPlane, |agent| {
            agent.line = LineFaults {
                loss: 0.01,
                duplicates: 0.05,
                reordering: 0.05,
                jitter: Duration::from_millis(20),
                outage_every: Duration::from_millis(900),
                outage_for: Duration::from_millis(10),
                seed: 3,
            };
        })
        .await;
        fixture.run(&["up", "--yes"]).await.expect(0);
        let context = &fixture.context;
        let (cloud, inventory) = context.observe().await.unwrap();
        let port = echo_server().await;
        let route = Route { host: "127.0.0.1".to_owned(), port, sessions: 4, silence: Silence::TimesOut };
        let bridge = Bridge::open(context, &cloud, &inventory, route).await.unwrap();
        let cuts = AtomicUsize::new(0);
        let rounds = AtomicUsize::new(0);
        let cutting = async {
            // Every cut finds bytes under way: the next waits until more have arrived.
            let mut seen = 0;
            loop {
                let received = bridge.state().bytes_received;
                if received >= seen + (bytes() * STREAMS / 10) as u64 {
                    seen = received;
                    let number = cuts.fetch_add(1, Ordering::Relaxed);
                    let disconnect =
                        if number.is_multiple_of(2) { Disconnect::Closed } else { Disconnect::Silent };
                    fixture.cloud.gateway().disconnect(disconnect);
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        // As often as it takes: how many cuts fall into one round is a matter of the machine.
        let echoing = async {
            while cuts.load(Ordering::Relaxed) < 5 || bridge.state().resumes < 5 {
                let mut streams = JoinSet::new();
                for number in 0..STREAMS {
                    streams.spawn(echo(bridge.connect().await.unwrap(), number));
                }
                while streams.join_next().await.transpose().unwrap().is_some() {}
                rounds.fetch_add(1, Ordering::Relaxed);
            }
        };
        let both = async {
            tokio::select! {
                () = echoing => (),
                () = cutting => (),
            }
        };
        let ended = tokio::time::timeout(LIMIT, both).await;
        ended.unwrap_or_else(|_| panic!("{rounds:?} rounds with {cuts:?} cuts: {:?}", bridge.state()));
        assert_eq!(bridge.state().bytes_received, (bytes() * STREAMS * rounds.into_inner()) as u64);
        bridge.close().await;
        fixture.stop().await;
    });
}
