use std::io::ErrorKind;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tunnel::{Control, Error, Event, Events, Options, Stream, Tunnel};

use crate::agent::{LIMIT, Script, Service, Target, until};

/// One session carries all streams, unless a test wants more.
fn options() -> Options {
    let mut options = Options::new("db.internal:5432");
    options.sessions = NonZeroUsize::MIN;
    options
}

async fn open(service: &Arc<Service>, options: Options) -> Result<Tunnel, Error> {
    Tunnel::open(Arc::clone(service) as Arc<dyn Control>, options).await
}

async fn start(script: Script) -> (Arc<Service>, Tunnel) {
    let service = Service::new(script);
    let tunnel = open(&service, options()).await.unwrap();
    (service, tunnel)
}

fn pattern(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 + at / 251 + seed) as u8).collect()
}

/// Writes and reads at the same time, and checks that what comes back is what was sent.
pub(crate) async fn echo(stream: Stream, length: usize, seed: usize) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let bytes = pattern(length, seed);
    let mut back = vec![0; length];
    let (written, read) = tokio::join!(writer.write_all(&bytes), reader.read_exact(&mut back));
    written.unwrap();
    read.unwrap();
    assert!(back == bytes, "the echo differs");
}

#[tokio::test]
async fn many_streams_echo_at_the_same_time() {
    let (service, tunnel) = start(Script::new(Target::Echo)).await;
    let streams = [tunnel.connect().await, tunnel.connect().await, tunnel.connect().await];
    let [one, two, three] = streams.map(Result::unwrap);
    tokio::join!(echo(one, 300_000, 1), echo(two, 200_000, 2), echo(three, 1, 3));
    let state = tunnel.state();
    assert_eq!(state.sessions.len(), 1);
    assert_eq!(state.sessions[0].session_id, "s-1");
    assert_eq!(state.sessions[0].agent.unwrap().to_string(), "3.3.987.0");
    assert_eq!((state.bytes_sent, state.bytes_received), (500_001, 500_001));
    assert_eq!((state.streams_opened, state.resumes), (3, 0));
    tunnel.close().await.unwrap();
    let seen = service.seen();
    assert_eq!(seen.fins, 3, "closing sends what was left to send");
    assert_eq!(seen.terminate_flags, 1);
    assert_eq!(seen.terminated, ["s-1"]);
}

/// The official client turns a message of one newline into a carriage return: in a multiplexed session that is what
/// remains of 1017 bytes after the first message.
#[tokio::test]
async fn every_byte_value_arrives_at_every_boundary_of_a_message() {
    let (_service, tunnel) = start(Script::new(Target::Echo)).await;
    let (mut reader, mut writer) = tokio::io::split(tunnel.connect().await.unwrap());
    for length in 1010..=1030 {
        let sent: Vec<u8> =
            (0..=255).flat_map(|last| std::iter::repeat_n(b'x', length - 1).chain([last])).collect();
        let mut back = vec![0; sent.len()];
        let writes = async {
            for write in sent.chunks(length) {
                writer.write_all(write).await.unwrap();
                // Each write becomes a frame of its own.
                tokio::task::yield_now().await;
            }
        };
        let ((), read) = tokio::join!(writes, reader.read_exact(&mut back));
        read.unwrap();
        assert!(back == sent, "writes of {length} bytes came back different");
    }
    tunnel.close().await.unwrap();
}

#[tokio::test]
async fn lost_and_repeated_frames_change_nothing() {
    let mut script = Script::new(Target::Echo);
    script.lose_every = Some(41);
    script.repeat_every = Some(17);
    let (service, tunnel) = start(script).await;
    echo(tunnel.connect().await.unwrap(), 200_000, 4).await;
    tunnel.close().await.unwrap();
    // 200 messages at the least, and as many back.
    let seen = service.seen();
    assert!(seen.lost >= 4 && seen.repeated >= 10, "{} lost, {} twice", seen.lost, seen.repeated);
}

#[tokio::test]
async fn a_websocket_closed_with_1000_under_traffic_is_resumed_and_nothing_is_lost() {
    let mut script = Script::new(Target::Echo);
    script.cuts = vec![60, 150];
    let (service, tunnel) = start(script).await;
    echo(tunnel.connect().await.unwrap(), 400_000, 5).await;
    assert_eq!(tunnel.state().resumes, 2);
    let seen = service.seen();
    assert_eq!(seen.handshake_responses.len(), 1, "there is no second handshake");
    assert_eq!(seen.opens.len(), 3);
    assert_eq!(seen.opens[1].token_value.expose(), "next-token");
    assert_eq!(seen.opens[0].client_id, seen.opens[2].client_id);
    assert_ne!(seen.opens[0].request_id, seen.opens[2].request_id);
    assert_eq!(seen.authorizations.len(), 3, "every connection has its own signature");
    assert_eq!(seen.authorizations[2], "signature 3");
    tunnel.close().await.unwrap();
}

#[tokio::test]
async fn a_service_that_floods_with_pings_and_reads_no_answer_loses_its_connection() {
    // What the kernel holds of the answers is some megabytes; what we held of the others had no end.
    const PINGS: usize = 400_000;
    let service = Service::new(Script { ping_flood: PINGS, ..Script::new(Target::Echo) });
    let (told, mut lost) = tokio::sync::mpsc::unbounded_channel();
    let mut options = options();
    options.events = Events::new(move |event| {
        if let Event::Lost { why, .. } = event {
            // Nobody listens any more once the test has ended.
            drop(told.send(why.to_string()));
        }
    });
    let tunnel = open(&service, options).await.unwrap();
    echo(tunnel.connect().await.unwrap(), 100_000, 5).await;
    let why = tokio::time::timeout(LIMIT, lost.recv()).await.expect("it is given up").unwrap();
    assert!(why.contains("the service sent 1024 pings and reads no answer"), "{why}");
    assert!(service.seen().pings < PINGS, "it took all of them");
    tunnel.close().await.unwrap();
}

#[tokio::test]
async fn a_session_that_ended_while_disconnected_takes_its_streams_and_the_next_gets_a_new_one() {
    let mut script = Script::new(Target::Echo);
    script.cuts = vec![3];
    script.forgotten = true;
    let service = Service::with_scripts(vec![script, Script::new(Target::Echo)]);
    let tunnel = open(&service, options()).await.unwrap();
    let mut stream = tunnel.connect().await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    let error = stream.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert_eq!(error.to_string(), "the session has ended");
    echo(tunnel.connect().await.unwrap(), 10_000, 1).await;
    tunnel.close().await.unwrap();
    assert_eq!(service.seen().terminated, ["s-2"], "there is nothing left to terminate of the first");
}

#[tokio::test]
async fn a_service_that_ends_the_session_says_why() {
    let mut script = Script::new(Target::Echo);
    script.end_after = Some(3);
    let (_service, tunnel) = start(script).await;
    let mut stream = tunnel.connect().await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    let error = stream.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert_eq!(error.to_string(), "the session has ended: time is up");
    assert_eq!(stream.write_all(b"more").await.unwrap_err().kind(), ErrorKind::ConnectionAborted);
    tunnel.close().await.unwrap();
}

#[tokio::test]
async fn a_target_that_the_bastion_cannot_reach_fails_the_stream_by_name() {
    let (_service, tunnel) = start(Script::new(Target::Closed)).await;
    let mut stream = tunnel.connect().await.unwrap();
    let error = stream.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(error.to_string(), "the bastion could not connect to `db.internal:5432`");
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    assert!(matches!(inner, Some(Error::ConnectFailed { .. })));
    tunnel.close().await.unwrap();
}

#[tokio::test]
async fn a_stalled_reader_does_not_hold_up_other_streams() {
    let (_service, tunnel) = start(Script::new(Target::Flood(8))).await;
    let mut stalled = tunnel.connect().await.unwrap();
    echo(tunnel.connect().await.unwrap(), 100_000, 6).await;
    let mut flood = vec![0; 8 << 20];
    stalled.read_exact(&mut flood).await.unwrap();
    assert!(flood.iter().all(|byte| *byte == 7));
    tunnel.close().await.unwrap();
}

#[tokio::test]
async fn a_full_read_buffer_stops_the_websocket_and_reading_starts_it_again() {
    let service = Service::new(Script::new(Target::Flood(4)));
    let mut options = self::options();
    options.read_buffer = 100_000;
    options.spill_file = 0;
    let tunnel = open(&service, options).await.unwrap();
    let mut stream = tunnel.connect().await.unwrap();
    until("the buffer is full", || tunnel.state().unread_bytes > 100_000).await;
    let mut chunk = vec![0; 4096];
    let mut most_unread = 0;
    for _ in 0..1024 {
        most_unread = most_unread.max(tunnel.state().unread_bytes);
        stream.read_exact(&mut chunk).await.unwrap();
        assert!(chunk.iter().all(|byte| *byte == 7));
        tokio::task::yield_now().await;
    }
    // One batch of frames and one smux frame may come on top.
    assert!(most_unread < 200_000, "{most_unread} bytes were buffered");
    tunnel.close().await.unwrap();
}

#[tokio::test]
async fn all_that_was_written_arrives_though_the_stream_is_dropped_at_once() {
    let service = Service::new(Script::new(Target::Sink));
    let mut options = self::options();
    // Far less than is written: closing must wait for acknowledgements before it can send the rest.
    options.window = 10_000;
    let tunnel = open(&service, options).await.unwrap();
    let mut stream = tunnel.connect().await.unwrap();
    stream.write_all(&pattern(500_000, 7)).await.unwrap();
    drop(stream);
    tunnel.close().await.unwrap();
    let seen = service.seen();
    assert_eq!((seen.received, seen.fins), (500_000, 1));
}

#[tokio::test]
async fn an_answer_that_comes_after_the_end_of_input_is_still_read() {
    let (_service, tunnel) = start(Script::new(Target::Echo)).await;
    let mut stream = tunnel.connect().await.unwrap();
    let bytes = pattern(50_000, 8);
    stream.write_all(&bytes).await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(stream.write_all(b"more").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    let mut back = vec![0; bytes.len()];
    stream.read_exact(&mut back).await.unwrap();
    assert!(back == bytes);
    tunnel.close().await.unwrap();
}

#[tokio::test]
async fn a_dropped_tunnel_ends_its_session_and_its_streams() {
    let (service, tunnel) = start(Script::new(Target::Echo)).await;
    let mut stream = tunnel.connect().await.unwrap();
    drop(tunnel);
    let seen = service.wait_until_seen(|seen| !seen.terminated.is_empty()).await;
    assert_eq!(seen.terminate_flags, 1);
    let error = stream.read_u8().await.unwrap_err();
    assert_eq!(error.to_string(), "the tunnel is closed");
}

#[tokio::test]
async fn an_agent_that_asks_for_encryption_is_answered_and_the_session_terminated() {
    let mut script = Script::new(Target::Echo);
    script.encryption = true;
    let service = Service::new(script);
    let error = open(&service, options()).await.unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    assert_eq!(service.seen().terminated, ["s-1"]);
    let seen = service.wait_until_seen(|seen| !seen.handshake_responses.is_empty()).await;
    assert!(seen.handshake_responses[0].contains(r#""ActionStatus":3"#));
}

#[tokio::test]
async fn an_agent_that_never_speaks_is_given_up_and_the_session_terminated() {
    let mut script = Script::new(Target::Echo);
    script.mute = true;
    let service = Service::new(script);
    let mut options = self::options();
    options.handshake_limit = Duration::from_millis(50);
    let error = open(&service, options).await;
    assert!(matches!(error, Err(Error::HandshakeTimedOut { .. })), "{error:?}");
    assert_eq!(service.seen().terminated, ["s-1"]);
}

#[tokio::test]
async fn a_service_that_is_not_there_is_named_and_the_token_is_not() {
    let mut script = Script::new(Target::Echo);
    script.unreachable = true;
    let service = Service::new(script);
    let token = Control::start(&*service).await.unwrap();
    let host = token.url.split('/').nth(2).unwrap().to_owned();
    assert!(!format!("{token:?}").contains("first-token"));
    let error = open(&service, options()).await.unwrap_err();
    assert!(matches!(&error, Error::Connect { .. }), "{error}");
    assert!(error.to_string().starts_with("cannot open a websocket to `127.0.0.1:"), "{error} {host}");
    assert!(!format!("{error:?}").contains("first-token"));
    assert_eq!(service.seen().terminated, ["s-2"]);
}

#[tokio::test]
async fn a_service_that_does_not_come_back_is_given_up_after_the_limit() {
    let mut script = Script::new(Target::Echo);
    script.cuts = vec![2];
    let service = Service::new(script);
    let mut options = self::options();
    // The first attempt to resume always fails here, and there is no time for a second.
    options.resume_limit = Duration::from_millis(100);
    let tunnel = open(&service, options).await.unwrap();
    let mut stream = tunnel.connect().await.unwrap();
    let error = stream.read_u8().await.unwrap_err();
    let error = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()).unwrap();
    assert!(matches!(error, Error::Disconnected { .. }), "{error}");
    let source = std::error::Error::source(error).unwrap().to_string();
    assert_eq!(source, "cannot resume the session");
    let seen = service.wait_until_seen(|seen| !seen.terminated.is_empty()).await;
    assert_eq!(seen.resumed, 1);
}

fn tls() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key.into())
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

#[tokio::test]
async fn a_wss_url_is_opened_with_tls_and_only_to_whom_is_trusted() {
    let (server, client) = tls();
    let service = Service::with_tls(Script::new(Target::Echo), server);
    let mut options = self::options();
    options.tls = Some(client);
    let tunnel = open(&service, options).await.unwrap();
    echo(tunnel.connect().await.unwrap(), 50_000, 9).await;
    tunnel.close().await.unwrap();

    let (_, stranger) = tls();
    let mut options = self::options();
    options.tls = Some(stranger);
    let error = open(&service, options).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error}");
}

#[tokio::test]
async fn the_first_connection_arrives_though_the_agent_throws_away_what_comes_too_early() {
    for deaf in 1..=2 {
        let mut script = Script::new(Target::Echo);
        script.deaf = deaf;
        let (service, tunnel) = start(script).await;
        echo(tunnel.connect().await.unwrap(), 1000, deaf).await;
        tunnel.close().await.unwrap();
        assert_eq!(service.seen().probes, 1, "{deaf} messages were thrown away before it");
    }
}

#[tokio::test]
async fn a_session_whose_agent_vanishes_ends_and_the_next_connection_finds_another() {
    let mut script = Script::new(Target::Echo);
    script.vanish_after = Some(3);
    let service = Service::with_scripts(vec![script, Script::new(Target::Echo)]);
    let mut options = options();
    options.agent_limit = Duration::from_millis(600);
    let tunnel = open(&service, options).await.unwrap();
    let mut stream = tunnel.connect().await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    let error = stream.read_to_end(&mut Vec::new()).await.unwrap_err();
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    assert!(matches!(inner, Some(Error::AgentSilent { .. })), "{error}");
    assert!(service.seen().opens.len() > 1, "another websocket was tried first");
    echo(tunnel.connect().await.unwrap(), 1000, 1).await;
    tunnel.close().await.unwrap();
    assert_eq!(service.seen().terminated, ["s-1", "s-2"], "the session is ended at the service too");
}

#[tokio::test]
async fn an_agent_that_comes_back_loses_nothing() {
    let mut script = Script::new(Target::Echo);
    (script.vanish_after, script.vanish_for) = (Some(20), Some(200));
    let (_service, tunnel) = start(script).await;
    echo(tunnel.connect().await.unwrap(), 300_000, 7).await;
    tunnel.close().await.unwrap();
}

#[tokio::test]
async fn a_resumed_session_keeps_its_url_if_the_answer_names_none() {
    let mut script = Script::new(Target::Echo);
    script.cuts = vec![20, 60];
    script.keeps_url = true;
    let (service, tunnel) = start(script).await;
    echo(tunnel.connect().await.unwrap(), 100_000, 8).await;
    assert_eq!(tunnel.state().resumes, 2);
    assert_eq!(service.seen().opens.len(), 3);
    tunnel.close().await.unwrap();
}

#[tokio::test]
async fn connections_that_get_something_through_begin_the_back_off_again() {
    let mut script = Script::new(Target::Echo);
    // Each connection lasts for a few messages: the time for a resume would be over many times if it went on from one to
    // the next.
    script.cuts = (1..=15).map(|cut| cut * 20).collect();
    script.resume_failures = Vec::new();
    let service = Service::new(script);
    let mut options = options();
    options.resume_limit = Duration::from_secs(4);
    let tunnel = open(&service, options).await.unwrap();
    echo(tunnel.connect().await.unwrap(), 400_000, 9).await;
    assert_eq!(tunnel.state().resumes, 15);
    tunnel.close().await.unwrap();
}

#[tokio::test]
async fn an_address_that_the_agent_forbids_fails_the_opening_in_the_agents_words() {
    let mut script = Script::new(Target::Nowhere);
    (script.deaf, script.last_words) = (1000, Some("Forwarding to IP address 127.0.0.1 is forbidden."));
    let service = Service::new(script);
    let error = open(&service, options()).await.unwrap_err();
    assert!(matches!(error, Error::Forbidden { .. }), "{error}");
    assert!(error.to_string().contains("127.0.0.1 is forbidden"), "{error}");
    assert_eq!(service.seen().starts, 1, "nobody tries the same again");
}
