//! Many sessions as one tunnel.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tunnel::{Control, Error, Event, Events, Options, Phase, Tunnel};

use crate::agent::{Script, Service, Target, until};
use crate::session::echo;

fn options(sessions: usize) -> Options {
    let mut options = Options::new("db.internal:5432");
    options.sessions = NonZeroUsize::new(sessions).unwrap();
    options
}

async fn open(service: &Arc<Service>, options: Options) -> Tunnel {
    Tunnel::open(Arc::clone(service) as Arc<dyn Control>, options).await.unwrap()
}

/// Returns the number of streams of each session.
fn load(tunnel: &Tunnel) -> Vec<usize> {
    let mut load: Vec<usize> = tunnel.state().sessions.iter().map(|session| session.streams).collect();
    load.sort_unstable();
    load
}

#[tokio::test]
async fn streams_spread_over_the_sessions_and_no_more_are_started_than_are_used() {
    let service = Service::new(Script::new(Target::Echo));
    let tunnel = open(&service, options(3)).await;
    let one = tunnel.connect().await.unwrap();
    assert_eq!(service.seen().starts, 1, "the first connection uses the first session");
    let (two, three) = tokio::join!(tunnel.connect(), tunnel.connect());
    let four = tunnel.connect().await;
    assert_eq!(load(&tunnel), [1, 1, 2]);
    let [two, three, four] = [two, three, four].map(Result::unwrap);
    tokio::join!(
        echo(one, 100_000, 1),
        echo(two, 100_000, 2),
        echo(three, 100_000, 3),
        echo(four, 100_000, 4)
    );
    let state = tunnel.state();
    assert_eq!((state.sessions_opened, state.streams_opened), (3, 4));
    assert_eq!((state.bytes_sent, state.bytes_received), (400_000, 400_000));
    tunnel.close().await.unwrap();
    let seen = service.seen();
    assert_eq!((seen.starts, seen.terminate_flags), (3, 3));
    let mut terminated = seen.terminated;
    terminated.sort();
    assert_eq!(terminated, ["s-1", "s-2", "s-3"]);
}

#[tokio::test]
async fn streams_go_around_a_session_that_hangs_on_its_target() {
    let scripts = vec![Script::new(Target::Nowhere), Script::new(Target::Echo)];
    let service = Service::with_scripts(scripts);
    let mut options = options(2);
    // Longer than the other one takes to answer, on any machine.
    options.answer_within = Some(Duration::from_secs(2));
    let tunnel = open(&service, options).await;
    let mut stream = tunnel.connect().await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    let error = stream.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    let said = "the bastion could not connect to `db.internal:5432`: there was no answer within 2s";
    assert_eq!(error.to_string(), said);
    assert_eq!(tunnel.state().sessions[0].phase, Phase::Stuck);
    echo(tunnel.connect().await.unwrap(), 1000, 1).await;
    assert_eq!(service.seen().starts, 2);
    tunnel.close().await.unwrap();
}

#[tokio::test]
async fn a_session_that_was_free_again_is_used_again() {
    let service = Service::new(Script::new(Target::Echo));
    let tunnel = open(&service, options(4)).await;
    for seed in 0..5 {
        echo(tunnel.connect().await.unwrap(), 1000, seed).await;
        // The stream's slot is free once the session has seen that it was dropped.
        until("no stream is left", || tunnel.state().streams == 0).await;
    }
    tunnel.close().await.unwrap();
    assert_eq!(service.seen().starts, 1);
}

#[tokio::test]
async fn streams_that_wait_for_their_end_do_not_count() {
    let service = Service::new(Script::new(Target::Echo));
    let tunnel = open(&service, options(2)).await;
    let mut finished = tunnel.connect().await.unwrap();
    echo_once(&mut finished).await;
    finished.shutdown().await.unwrap();
    // It lives for seconds yet. Its session is as good as free: two streams take both, and not one twice.
    let (one, two) = (tunnel.connect().await.unwrap(), tunnel.connect().await.unwrap());
    assert_eq!(load(&tunnel), [1, 2]);
    drop((one, two));
    tunnel.close().await.unwrap();
}

async fn echo_once(stream: &mut tunnel::Stream) {
    stream.write_all(b"?").await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'?');
}

#[tokio::test]
async fn a_session_that_ends_takes_only_its_own_streams() {
    let mut short = Script::new(Target::Echo);
    short.end_after = Some(3);
    let service = Service::with_scripts(vec![Script::new(Target::Echo), short, Script::new(Target::Echo)]);
    let tunnel = open(&service, options(2)).await;
    let mut first = tunnel.connect().await.unwrap();
    let mut second = tunnel.connect().await.unwrap();
    second.write_all(b"one too many").await.unwrap();
    let error = second.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert_eq!(error.to_string(), "the session has ended: time is up");
    first.write_all(b"still here").await.unwrap();
    let mut back = [0; 10];
    first.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"still here");
    let third = tunnel.connect().await.unwrap();
    assert_eq!(service.seen().starts, 3, "a new session stands in for the one that ended");
    echo(third, 1000, 3).await;
    tunnel.close().await.unwrap();
}

#[tokio::test]
async fn a_stream_shares_a_session_when_no_other_can_be_started() {
    let mut refused = Script::new(Target::Echo);
    refused.refused = true;
    let service = Service::with_scripts(vec![Script::new(Target::Echo), refused]);
    let tunnel = open(&service, options(4)).await;
    let first = tunnel.connect().await.unwrap();
    let second = tunnel.connect().await.unwrap();
    assert_eq!(load(&tunnel), [2]);
    tokio::join!(echo(first, 10_000, 1), echo(second, 10_000, 2));
    tunnel.close().await.unwrap();
}

#[tokio::test]
async fn a_stream_does_not_wait_long_for_a_session_of_its_own() {
    let mut mute = Script::new(Target::Echo);
    mute.mute = true;
    let service = Service::with_scripts(vec![Script::new(Target::Echo), mute]);
    let tunnel = open(&service, options(2)).await;
    let first = tunnel.connect().await.unwrap();
    let second = tunnel.connect().await.unwrap();
    let phases: Vec<Phase> = tunnel.state().sessions.iter().map(|session| session.phase).collect();
    assert_eq!(phases, [Phase::Live, Phase::Opening]);
    tokio::join!(echo(first, 10_000, 1), echo(second, 10_000, 2));
    tunnel.close().await.unwrap();
    let mut terminated = service.seen().terminated;
    terminated.sort();
    assert_eq!(terminated, ["s-1", "s-2"], "the mute session is ended too");
}

#[tokio::test]
async fn without_any_session_the_reason_is_given() {
    let mut short = Script::new(Target::Echo);
    short.end_after = Some(3);
    let mut refused = Script::new(Target::Echo);
    refused.refused = true;
    let service = Service::with_scripts(vec![short, refused.clone()]);
    let tunnel = open(&service, options(4)).await;
    let mut stream = tunnel.connect().await.unwrap();
    stream.write_all(b"the end").await.unwrap();
    assert!(stream.read_to_end(&mut Vec::new()).await.is_err());
    let error = tunnel.connect().await.unwrap_err();
    assert_eq!(error.to_string(), "cannot start the session");
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), "there is no room for another session");
    tunnel.close().await.unwrap();

    let service = Service::new(refused);
    let control = Arc::clone(&service) as Arc<dyn Control>;
    let error = Tunnel::open(control, options(4)).await.unwrap_err();
    assert!(matches!(error, Error::Control { action: "start", .. }), "{error}");
}

#[tokio::test]
async fn sessions_beyond_the_first_end_when_they_are_not_used() {
    let service = Service::new(Script::new(Target::Echo));
    let mut options = options(3);
    options.idle_limit = Duration::from_millis(50);
    let tunnel = open(&service, options).await;
    let streams = [tunnel.connect().await, tunnel.connect().await, tunnel.connect().await];
    for (seed, stream) in streams.into_iter().enumerate() {
        echo(stream.unwrap(), 1000, seed).await;
    }
    let seen = service.wait_until_seen(|seen| seen.terminated.len() == 2).await;
    assert!(!seen.terminated.contains(&"s-1".to_owned()), "{:?}", seen.terminated);
    echo(tunnel.connect().await.unwrap(), 1000, 9).await;
    tunnel.close().await.unwrap();
}

#[tokio::test]
async fn a_dropped_tunnel_ends_all_its_sessions() {
    let service = Service::new(Script::new(Target::Echo));
    let tunnel = open(&service, options(2)).await;
    let (one, two) = tokio::join!(tunnel.connect(), tunnel.connect());
    drop(tunnel);
    service.wait_until_seen(|seen| seen.terminated.len() == 2).await;
    for mut stream in [one.unwrap(), two.unwrap()] {
        assert_eq!(stream.read_u8().await.unwrap_err().to_string(), "the tunnel is closed");
    }
}

#[tokio::test]
async fn every_change_of_a_session_is_told_in_order() {
    let mut script = Script::new(Target::Echo);
    script.cuts = vec![3];
    let service = Service::new(script);
    let told = Arc::new(Mutex::new(Vec::new()));
    let mut options = options(1);
    let listener = Arc::clone(&told);
    options.events = Events::new(move |event: Event| listener.lock().unwrap().push(event.to_string()));
    let tunnel = open(&service, options).await;
    echo(tunnel.connect().await.unwrap(), 50_000, 1).await;
    tunnel.close().await.unwrap();
    let told = told.lock().unwrap().clone();
    assert_eq!(told.len(), 6, "{told:?}");
    assert_eq!(told[0], "session s-1: started");
    assert_eq!(told[1], "session s-1: ready, agent 3.3.987.0: welcome");
    assert_eq!(
        told[2],
        "session s-1: the connection was lost: the service closed the websocket with 1000; resuming it"
    );
    assert_eq!(told[3], "session s-1: cannot resume the session: throttled; trying again");
    assert!(told[4].starts_with("session s-1: resumed after "), "{}", told[4]);
    assert_eq!(told[5], "session s-1: the tunnel is closed");
}

#[tokio::test]
async fn a_reader_that_stops_costs_little_memory_and_loses_nothing() {
    let service = Service::new(Script::new(Target::Flood(24)));
    let mut options = options(1);
    options.read_buffer = 4 << 20;
    let tunnel = open(&service, options).await;
    let mut stalled = tunnel.connect().await.unwrap();
    let mut most = 0;
    until("all bytes are there", || {
        most = most.max(tunnel.state().unread_bytes);
        tunnel.state().bytes_received >= 24 << 20
    })
    .await;
    assert!(most <= 4 << 20, "{most} bytes in memory");
    let state = tunnel.state();
    assert!(state.spilled_bytes > 20 << 20, "{} bytes on disk", state.spilled_bytes);
    // On the same session others go on.
    echo(tunnel.connect().await.unwrap(), 100_000, 6).await;
    let mut flood = vec![0; 24 << 20];
    stalled.read_exact(&mut flood).await.unwrap();
    assert!(flood.iter().all(|byte| *byte == 7));
    let state = tunnel.state();
    assert_eq!((state.unread_bytes, state.spilled_bytes), (0, 0));
    tunnel.close().await.unwrap();
}
