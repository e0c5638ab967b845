//! A server of a few messages at the other end of a stream in memory.

use std::io;
use std::sync::Arc;

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
