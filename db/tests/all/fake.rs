//! A server of a few messages at the other end of a stream in memory.

use std::io;
use std::sync::Arc;

use aws_lc_rs::{hmac, pbkdf2};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use db::{BoxStream, Dial, Login, Server};
use futures_util::future::BoxFuture;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, SupportedProtocolVersion};
use stack::Secret;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::Mutex;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub(crate) const HOST: &str = "orders.internal";
pub(crate) const PASSWORD: &str = "correct horse";

/// An authority and a server certificate that it signed.
#[derive(Clone)]
pub(crate) struct Pki {
    pub(crate) authority_pem: String,
    config: ServerConfig,
}

impl Pki {
    pub(crate) fn new(name: &str, versions: &[&'static SupportedProtocolVersion]) -> Pki {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        Pki { authority_pem: authority.pem(), config }
    }
}

/// Returns a server that can be dialled once, and its end of the stream.
pub(crate) fn server(authority_pem: &str) -> (Server, DuplexStream) {
    let (ours, theirs) = duplex(64 * 1024);
    let roots = Server::roots_from_pem(authority_pem.as_bytes()).unwrap();
    let dial = Arc::new(Once(Mutex::new(Some(ours))));
    (Server { host: HOST.to_owned(), port: 5432, roots: Arc::new(roots), dial }, theirs)
}

pub(crate) fn login() -> Login {
    Login { user: "app".to_owned(), password: Secret::new(PASSWORD), database: "shop".to_owned() }
}

/// Reads the request for TLS and agrees to it; returns the stream and the startup message.
pub(crate) async fn accept(
    mut stream: DuplexStream,
    pki: Pki,
) -> io::Result<(TlsStream<DuplexStream>, Vec<u8>)> {
    read_tls_request(&mut stream).await?;
    stream.write_all(b"S").await?;
    let mut stream = TlsAcceptor::from(Arc::new(pki.config)).accept(stream).await?;
    let len = stream.read_u32().await?;
    let mut startup = vec![0; usize::try_from(len).unwrap() - 4];
    stream.read_exact(&mut startup).await?;
    Ok((stream, startup))
}

pub(crate) async fn read_tls_request(stream: &mut DuplexStream) -> io::Result<()> {
    let mut request = [0; 8];
    stream.read_exact(&mut request).await?;
    assert_eq!(request, [0, 0, 0, 8, 4, 210, 22, 47], "not a request for TLS");
    Ok(())
}

/// Has the client prove its password by SCRAM-SHA-256, and proves in return that it is known (RFC 5802).
pub(crate) async fn prove(stream: &mut TlsStream<DuplexStream>) -> io::Result<()> {
    const SALT: &[u8] = b"a salt of a test";
    const ROUNDS: u32 = 4096;
    stream.write_all(&message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0")).await?;
    let first = read_answer(stream).await?;
    // The mechanism, a length, `n,,` or `y,,`, and what is signed.
    let first = first.split_once('\0').unwrap().1.splitn(3, ',').nth(2).unwrap().to_owned();
    let nonce = first.split_once(",r=").unwrap().1;
    let challenge = format!("r={nonce}server,s={},i={ROUNDS}", BASE64_STANDARD.encode(SALT));
    stream.write_all(&message(b'R', &[&[0, 0, 0, 11], challenge.as_bytes()].concat())).await?;
    let last = read_answer(stream).await?;
    let (unproved, _) = last.split_once(",p=").unwrap();
    let mut salted = [0; 32];
    let rounds = ROUNDS.try_into().unwrap();
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, SALT, PASSWORD.as_bytes(), &mut salted);
    let sign = |key: &[u8], text: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text);
    let server_key = sign(&salted, b"Server Key");
    let signature = sign(server_key.as_ref(), format!("{first},{challenge},{unproved}").as_bytes());
    let told = format!("v={}", BASE64_STANDARD.encode(signature));
    stream.write_all(&message(b'R', &[&[0, 0, 0, 12], told.as_bytes()].concat())).await?;
    stream.write_all(&message(b'R', &[0, 0, 0, 0])).await
}

async fn read_answer(stream: &mut TlsStream<DuplexStream>) -> io::Result<String> {
    assert_eq!(stream.read_u8().await?, b'p');
    let len = stream.read_u32().await?;
    let mut body = vec![0; usize::try_from(len).unwrap() - 4];
    stream.read_exact(&mut body).await?;
    Ok(String::from_utf8_lossy(&body).into_owned())
}

/// Returns one message as the server sends it.
pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![kind];
    message.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    message.extend(body);
    message
}

struct Once(Mutex<Option<DuplexStream>>);

impl Dial for Once {
    fn dial(&self) -> BoxFuture<'_, io::Result<BoxStream>> {
        Box::pin(async {
            let stream = self.0.lock().await.take();
            stream.map(BoxStream::new).ok_or_else(|| io::Error::other("the tunnel is closed"))
        })
    }
}
