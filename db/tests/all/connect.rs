use std::time::Duration;

use db::{Cause, ConnectOptions, Error, Kind, SearchPath, Server, Tls, connect};
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::fake::{self, HOST, PASSWORD, Pki, login, message};

const BOTH: [&rustls::SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

async fn let_in(
    versions: &[&'static rustls::SupportedProtocolVersion],
    options: &ConnectOptions,
) -> (Tls, u32, Vec<u8>) {
    let pki = Pki::new(HOST, versions);
    let (server, stream) = fake::server(&pki.authority_pem);
    let served = tokio::spawn(async move {
        let (mut stream, startup) = fake::accept(stream, pki).await.unwrap();
        fake::prove(&mut stream).await.unwrap();
        stream.write_all(&message(b'S', b"server_version\x0016.4 (Debian)\0")).await.unwrap();
        stream.write_all(&message(b'Z', b"I")).await.unwrap();
        // Until the client says disconnect.
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, message(b'X', b""));
        startup
    });
    let session = connect(&server, &login(), options).await.unwrap();
    let (tls, version) = (session.tls().clone(), session.version());
    session.close().await;
    (tls, version, served.await.unwrap())
}

#[tokio::test]
async fn a_session_tells_protocol_and_server_name() {
    let (tls, version, _) = let_in(&BOTH, &ConnectOptions::default()).await;
    assert_eq!(tls, Tls { protocol: "TLSv1.3", server_name: HOST.to_owned() });
    assert_eq!(version, 16);
}

#[tokio::test]
async fn an_older_protocol_is_told_as_what_it_is() {
    let (tls, ..) = let_in(&[&TLS12], &ConnectOptions::default()).await;
    assert_eq!(tls.protocol, "TLSv1.2");
}

#[tokio::test]
async fn options_travel_in_the_first_message_and_the_password_does_not() {
    let options = ConnectOptions {
        role: Some("odd name".to_owned()),
        lock_timeout: Some(Duration::from_secs(5)),
        silence_limit: Some(Duration::from_secs(30)),
        ..ConnectOptions::default()
    };
    let (.., startup) = let_in(&BOTH, &options).await;
    let startup = String::from_utf8(startup).unwrap();
    assert!(
        startup.contains(" -c role=odd\\ name -c lock_timeout=5000 -c idle_session_timeout=30000"),
        "{startup:?}"
    );
    assert!(startup.contains(" -c idle_in_transaction_session_timeout=30000\0"), "{startup:?}");
    assert!(startup.contains("options\0-c client_connection_check_interval=5000 "), "{startup:?}");
    assert!(startup.contains(" -c search_path=pg_catalog,\\ pg_temp -c role="), "{startup:?}");
    assert!(startup.contains("user\0app\0database\0shop\0"), "{startup:?}");
    assert!(startup.contains("application_name\0drawbridge\0"), "{startup:?}");
    assert!(!startup.contains(PASSWORD));
}

#[test]
fn a_path_of_the_tenants_own_is_left_to_the_server() {
    let options = ConnectOptions { search_path: SearchPath::Own, ..ConnectOptions::default() };
    assert!(!options.startup().contains("search_path"), "{}", options.startup());
}

#[test]
fn a_time_limit_below_a_millisecond_does_not_become_no_limit() {
    let options =
        ConnectOptions { statement_timeout: Some(Duration::from_nanos(1)), ..ConnectOptions::default() };
    assert!(options.startup().contains(" -c statement_timeout=1 "), "{}", options.startup());
}

#[tokio::test]
async fn a_server_without_tls_is_refused() {
    let pki = Pki::new(HOST, &BOTH);
    let (server, mut stream) = fake::server(&pki.authority_pem);
    let served = tokio::spawn(async move {
        fake::read_tls_request(&mut stream).await.unwrap();
        stream.write_all(b"N").await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        rest
    });
    let error = connect(&server, &login(), &ConnectOptions::default()).await.unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error:?}");
    assert!(served.await.unwrap().is_empty(), "something was sent in the clear");
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let pki = Pki::new("elsewhere.internal", &BOTH);
    let (server, stream) = fake::server(&pki.authority_pem);
    let served = tokio::spawn(fake::accept(stream, pki));
    let error = connect(&server, &login(), &ConnectOptions::default()).await.unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error:?}");
    assert!(error.chain().contains("not valid for name"), "{}", error.chain());
    assert_eq!(error.kind(), Kind::Unreachable);
    assert!(served.await.unwrap().is_err());
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused() {
    let (server, stream) = fake::server(&Pki::new(HOST, &BOTH).authority_pem);
    let served = tokio::spawn(fake::accept(stream, Pki::new(HOST, &BOTH)));
    let error = connect(&server, &login(), &ConnectOptions::default()).await.unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error:?}");
    assert!(served.await.unwrap().is_err());
}

#[tokio::test]
async fn a_server_is_told_a_proof_of_the_password_and_nothing_else() {
    for (asked, said) in [
        (&b"\0\0\0\0"[..], "the server asks for no password, so that anybody may be anybody"),
        (b"\0\0\0\x03", "the server asks for the clear password"),
        (b"\0\0\0\x05salt", "the server asks for a hash of the password (MD5)"),
        (b"\0\0\0\x07", "the server asks for something other than a proof of the password"),
    ] {
        let pki = Pki::new(HOST, &BOTH);
        let (server, stream) = fake::server(&pki.authority_pem);
        let served = tokio::spawn(async move {
            let (mut stream, _) = fake::accept(stream, pki).await.unwrap();
            stream.write_all(&message(b'R', asked)).await.unwrap();
            // As one does that lets anybody in.
            drop(stream.write_all(&message(b'Z', b"I")).await);
            let mut answer = Vec::new();
            // The client hangs up without the disconnect of TLS.
            drop(stream.read_to_end(&mut answer).await);
            answer
        });
        let error = connect(&server, &login(), &ConnectOptions::default()).await.unwrap_err();
        let chain = error.chain();
        assert!(chain.starts_with("cannot log in to database `shop` as `app`: "), "{chain}");
        assert!(chain.contains(said) && chain.ends_with("; only SCRAM-SHA-256 is answered"), "{chain}");
        assert_eq!(error.kind(), Kind::Permission);
        assert!(served.await.unwrap().is_empty(), "the server was answered");
    }
}

#[tokio::test]
async fn a_refusal_shows_all_that_postgresql_said_and_no_password() {
    let pki = Pki::new(HOST, &BOTH);
    let (server, stream) = fake::server(&pki.authority_pem);
    let served = tokio::spawn(async move {
        let (mut stream, _) = fake::accept(stream, pki).await.unwrap();
        let body = b"SFATAL\0VFATAL\0C28P01\0Mno entry\0Da detail\0Ha hint\0\0";
        stream.write_all(&message(b'E', body)).await.unwrap();
        stream.shutdown().await.unwrap();
    });
    let error = connect(&server, &login(), &ConnectOptions::default()).await.unwrap_err();
    served.await.unwrap();
    assert_eq!(
        error.chain(),
        "cannot connect to database `shop` as `app`: \
         FATAL: no entry (SQLSTATE 28P01); detail: a detail; hint: a hint"
    );
    assert_eq!(error.sqlstate(), Some("28P01"));
    assert_eq!(error.kind(), Kind::Permission);
    assert!(!format!("{error:?}").contains(PASSWORD));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stays_silent_is_given_up() {
    let (server, _stream) = fake::server(&Pki::new(HOST, &BOTH).authority_pem);
    let error = connect(&server, &login(), &ConnectOptions::default()).await.unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
}

#[tokio::test]
async fn a_tunnel_that_does_not_open_is_told_with_its_cause() {
    let (server, stream) = fake::server(&Pki::new(HOST, &BOTH).authority_pem);
    drop(server.dial.dial().await.unwrap());
    drop(stream);
    let error = connect(&server, &login(), &ConnectOptions::default()).await.unwrap_err();
    assert_eq!(error.chain(), "cannot reach `orders.internal`: the tunnel is closed");
}

#[tokio::test]
async fn a_connection_cut_in_the_middle_of_the_login_is_unreachable() {
    let pki = Pki::new(HOST, &BOTH);
    let (server, stream) = fake::server(&pki.authority_pem);
    let served = tokio::spawn(async move { drop(fake::accept(stream, pki).await.unwrap()) });
    let error = connect(&server, &login(), &ConnectOptions::default()).await.unwrap_err();
    served.await.unwrap();
    assert!(matches!(error, Error::Connect { source: Cause::Client(_), .. }), "{error:?}");
    assert_eq!(error.kind(), Kind::Unreachable);
}

#[test]
fn a_bundle_with_lines_between_its_certificates_is_read_whole() {
    let (one, two) = (Pki::new(HOST, &BOTH), Pki::new(HOST, &BOTH));
    let bundle = format!("Region: eu\n\n{}\n# another\n{}", one.authority_pem, two.authority_pem);
    assert_eq!(Server::roots_from_pem(bundle.as_bytes()).unwrap().len(), 2);
}

#[test]
fn a_bundle_without_a_readable_certificate_is_refused() {
    let good = Pki::new(HOST, &BOTH).authority_pem;
    let cut: String = good.lines().take(4).collect::<Vec<_>>().join("\n");
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let half = format!("{good}{garbage}");
    for (bundle, reason) in [
        ("", "no certificate"),
        ("<html>not found</html>", "no certificate"),
        (garbage, "certificate 1"),
        (half.as_str(), "certificate 2"),
        (cut.as_str(), "certificate"),
    ] {
        let error = Server::roots_from_pem(bundle.as_bytes()).unwrap_err();
        assert!(error.is_usage() && error.to_string().contains(reason), "{error}");
    }
}
