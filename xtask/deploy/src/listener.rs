//! A local port for programs that cannot be handed a stream.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_rustls::TlsConnector;

use crate::bridge::Bridge;
use crate::descriptor::{self, Spare};
use crate::failure::{Exit, Failure};
use crate::view::View;

/// PostgreSQL's SSLRequest: length 8, code 80877103 (PostgreSQL, "Message Formats").
pub const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// What is done to the bytes on their way.
#[derive(Clone)]
pub enum Wrap {
    /// Nothing: the program speaks TLS itself.
    Nothing,
    /// PostgreSQL's TLS, verified here, for a program that was built without it.
    Tls {
        /// Holds the roots.
        config: Arc<rustls::ClientConfig>,
        /// The name that the certificate must carry.
        name: String,
    },
}

/// Takes a port on the loopback address; 0 takes a free one.
///
/// # Errors
/// The port is taken. It is asked for before a session is started, so nothing needs to be ended.
pub async fn bind(port: u16) -> Result<TcpListener, Failure> {
    TcpListener::bind(("127.0.0.1", port)).await.map_err(|error| {
        let error = anyhow::Error::new(error).context(format!("cannot listen on 127.0.0.1:{port}"));
        Failure::new(Exit::Tunnel, error)
            .hint("choose another port with `--port N`, or any free one with `--port 0`")
    })
}

/// How long nothing is accepted after an error that is not the connection's own.
const PAUSE: Duration = Duration::from_millis(100);

/// Carries connections until the future is dropped. One that fails is reported and hurts no other; one that cannot be
/// accepted is refused, and that is told once.
pub async fn serve(listener: &TcpListener, bridge: &Arc<Bridge>, wrap: &Wrap, view: &View) -> Infallible {
    let mut connections = JoinSet::new();
    let (mut spare, mut is_told) = (Spare::take(), false);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((local, _)) => {
                    let (bridge, wrap, view) = (bridge.clone(), wrap.clone(), view.clone());
                    connections.spawn(async move {
                        if let Err(error) = carry(local, &bridge, &wrap).await {
                            view.show(&stack::Event::Warning { text: format!("connection ended: {error:#}") });
                        }
                    });
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_told, true) {
                        let text = format!("a connection is refused, and others may be: {}", explain(&error));
                        view.show(&stack::Event::Warning { text });
                    }
                    if descriptor::is_out_of(&error) {
                        spare.refuse(listener).await;
                    } else {
                        sleep(PAUSE).await;
                    }
                }
            },
            Some(_) = connections.join_next() => (),
        }
    }
}

fn explain(error: &io::Error) -> String {
    if descriptor::is_out_of(error) {
        format!("{error}; `ulimit -n` in the shell that starts this says how many files may be open")
    } else {
        error.to_string()
    }
}

async fn carry(mut local: TcpStream, bridge: &Bridge, wrap: &Wrap) -> anyhow::Result<()> {
    local.set_nodelay(true)?;
    let mut remote = bridge.connect().await?;
    match wrap {
        Wrap::Nothing => pipe(&mut local, &mut remote).await,
        Wrap::Tls { config, name } => {
            let mut remote = secure(remote, config.clone(), name).await?;
            pipe(&mut local, &mut remote).await
        }
    }
}

/// Copies both ways. A program that simply goes away is no error.
async fn pipe<S: AsyncRead + AsyncWrite + Unpin>(
    local: &mut TcpStream,
    remote: &mut S,
) -> anyhow::Result<()> {
    match copy_bidirectional(local, remote).await {
        Ok(_) => Ok(()),
        Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => {
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Asks the server for TLS as PostgreSQL's protocol does, and verifies it.
async fn secure(
    mut remote: tunnel::Stream,
    config: Arc<rustls::ClientConfig>,
    name: &str,
) -> anyhow::Result<tokio_rustls::client::TlsStream<tunnel::Stream>> {
    remote.write_all(&SSL_REQUEST).await?;
    remote.flush().await?;
    let answer = remote.read_u8().await.context("the server closed the connection")?;
    anyhow::ensure!(answer == b'S', "the server refuses TLS");
    let name = ServerName::try_from(name.to_owned())?;
    TlsConnector::from(config).connect(name, remote).await.context("cannot verify the server")
}

/// Returns a TLS client configuration with those roots and nothing else.
pub fn tls(roots: rustls::RootCertStore) -> anyhow::Result<Arc<rustls::ClientConfig>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
