//! TLS on behalf of programs at a socket: libpq speaks none there, and the server takes nothing else.

use std::sync::Arc;

use anyhow::Context as _;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::duplex::copy_both_ways;

/// PostgreSQL's SSLRequest: length 8, code 80877103 (PostgreSQL, "Message Formats").
pub const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
/// Its GSSENCRequest, 80877104.
const GSS_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30];
/// What a TLS connection begins with, for clients that ask nothing before (`sslnegotiation=direct`).
const TLS_HANDSHAKE: u8 = 0x16;
/// The longest first message that servers take (`MAX_STARTUP_PACKET_LENGTH`).
const MAX_STARTUP_BYTES: usize = 10_000;
/// More than a server has to say before it asks for a password.
const MAX_MESSAGE_BYTES: usize = 1 << 20;
/// How a password is proved without being told, bound to the server's certificate and not.
const SCRAM_PLUS: &[u8] = b"SCRAM-SHA-256-PLUS";
const SCRAM: &[u8] = b"SCRAM-SHA-256";

/// Returns a TLS client configuration with those roots and nothing else.
pub fn tls(roots: rustls::RootCertStore) -> anyhow::Result<Arc<rustls::ClientConfig>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Carries a connection to its end. A program that asks for TLS speaks it with the server itself.
///
/// # Errors
/// The server is not the one that it should be, or asks for more than a proof of the password. The program is told.
pub(super) async fn carry<L, R>(
    mut local: L,
    mut remote: R,
    tls: Arc<rustls::ClientConfig>,
    name: &str,
) -> anyhow::Result<()>
where
    L: AsyncRead + AsyncWrite + Unpin,
    R: AsyncRead + AsyncWrite + Unpin,
{
    match read_opening(&mut local).await? {
        Opening::Nothing => Ok(()),
        Opening::Tls(bytes) => {
            remote.write_all(&bytes).await?;
            copy_both_ways(&mut local, &mut remote).await
        }
        Opening::Plain(startup) => {
            let logged_in = async {
                let mut remote = secure(remote, tls, name).await?;
                remote.write_all(&startup).await?;
                remote.flush().await?;
                pass_login(&mut local, &mut remote).await?;
                anyhow::Ok(remote)
            };
            match logged_in.await {
                Ok(mut remote) => copy_both_ways(&mut local, &mut remote).await,
                Err(error) => {
                    // It may have gone meanwhile.
                    local.write_all(&refusal(&format!("{error:#}"))).await.ok();
                    local.shutdown().await.ok();
                    Err(error)
                }
            }
        }
    }
}

/// What a program begins with.
enum Opening {
    /// It went away again.
    Nothing,
    /// It wants to speak TLS.
    Tls(Vec<u8>),
    /// It does not; a StartupMessage, or a CancelRequest.
    Plain(Vec<u8>),
}

async fn read_opening<L: AsyncRead + AsyncWrite + Unpin>(local: &mut L) -> anyhow::Result<Opening> {
    let mut head = [0; 8];
    let mut asks_for_gss = 0..2;
    loop {
        if local.read(&mut head[..1]).await? == 0 {
            return Ok(Opening::Nothing);
        }
        local.read_exact(&mut head[1..]).await?;
        if head[0] == TLS_HANDSHAKE || head == SSL_REQUEST {
            return Ok(Opening::Tls(head.to_vec()));
        }
        if head != GSS_REQUEST || asks_for_gss.next().is_none() {
            break;
        }
        local.write_all(b"N").await?;
    }
    let [a, b, c, d, ..] = head;
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    anyhow::ensure!(
        (8..=MAX_STARTUP_BYTES).contains(&length),
        "the program does not speak as PostgreSQL's do"
    );
    let mut startup = head.to_vec();
    startup.resize(length, 0);
    local.read_exact(&mut startup[8..]).await?;
    Ok(Opening::Plain(startup))
}

/// Asks the server for TLS as PostgreSQL's protocol does, and verifies it.
async fn secure<R: AsyncRead + AsyncWrite + Unpin>(
    mut remote: R,
    config: Arc<rustls::ClientConfig>,
    name: &str,
) -> anyhow::Result<TlsStream<R>> {
    remote.write_all(&SSL_REQUEST).await?;
    remote.flush().await?;
    let answer = remote.read_u8().await.context("the server closed the connection")?;
    anyhow::ensure!(answer == b'S', "the server refuses TLS");
    let name = ServerName::try_from(name.to_owned())?;
    TlsConnector::from(config).connect(name, remote).await.context("cannot verify the server")
}

/// Passes on what the server says up to how it wants the password.
///
/// Channel binding is left out of what it offers: a program without TLS takes that for an attack, and the server that this
/// program has verified is the one that there is.
async fn pass_login<L, R>(local: &mut L, remote: &mut R) -> anyhow::Result<()>
where
    L: AsyncWrite + Unpin,
    R: AsyncRead + Unpin,
{
    loop {
        let mut head = [0; 5];
        // The answer to a CancelRequest is none.
        if remote.read(&mut head[..1]).await? == 0 {
            return Ok(());
        }
        remote.read_exact(&mut head[1..]).await?;
        let [kind, a, b, c, d] = head;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        anyhow::ensure!(
            (4..=MAX_MESSAGE_BYTES).contains(&length),
            "the server does not speak as PostgreSQL does"
        );
        let mut body = vec![0; length - 4];
        remote.read_exact(&mut body).await?;
        if kind == b'R' {
            local.write_all(&message(kind, &only_scram(&body)?)).await?;
            return Ok(());
        }
        local.write_all(&message(kind, &body)).await?;
        if kind == b'E' {
            return Ok(());
        }
    }
}

/// Returns the body of AuthenticationSASL without channel binding.
///
/// # Errors
/// The server asks for the password in another way, or for none.
fn only_scram(body: &[u8]) -> anyhow::Result<Vec<u8>> {
    let Some((asked, offered)) = body.split_first_chunk::<4>() else {
        anyhow::bail!("the server does not speak as PostgreSQL does");
    };
    let asked = u32::from_be_bytes(*asked);
    let how = match asked {
        0 => "asks for no password, so that anybody may be anybody",
        3 => "asks for the clear password",
        5 => "asks for a hash of the password (MD5), which is as good as the password",
        _ => "asks for something other than a proof of the password",
    };
    anyhow::ensure!(asked == 10, "the server {how}; only SCRAM-SHA-256 is answered");
    let mut kept = body[..4].to_vec();
    for mechanism in offered.split(|byte| *byte == 0).filter(|one| !one.is_empty() && *one != SCRAM_PLUS) {
        kept.extend(mechanism);
        kept.push(0);
    }
    anyhow::ensure!(
        kept[4..].split(|byte| *byte == 0).any(|one| one == SCRAM),
        "the server offers no SCRAM-SHA-256"
    );
    kept.push(0);
    Ok(kept)
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![kind];
    message.extend(u32::try_from(body.len() + 4).unwrap_or(u32::MAX).to_be_bytes());
    message.extend(body);
    message
}

/// Returns an ErrorResponse that ends a login.
fn refusal(text: &str) -> Vec<u8> {
    let text: String = text.chars().filter(|c| *c != '\0').collect();
    message(b'E', format!("SFATAL\0VFATAL\0C28000\0Mtunnel: {text}\0\0").as_bytes())
}

/// Tells a program that it is refused, without waiting for it: nobody is to keep connections open that way.
pub(super) fn refuse_at_once(local: &TcpStream, text: &str) {
    // What was sent and is not read would turn the answer into a reset. The first message is short.
    local.try_read(&mut [0; MAX_STARTUP_BYTES]).ok();
    local.try_write(&refusal(text)).ok();
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    #[tokio::test]
    async fn channel_binding_is_left_out_and_what_comes_before_and_after_stays() {
        let (mut local, mut program) = duplex(4096);
        let (mut remote, mut server) = duplex(4096);
        let first = message(b'v', b"\0\x03\0\0\0\0\0\0");
        server.write_all(&first).await.unwrap();
        server.write_all(&message(b'R', b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0")).await.unwrap();
        server.write_all(b"next").await.unwrap();
        pass_login(&mut local, &mut remote).await.unwrap();
        drop(local);
        let mut said = Vec::new();
        program.read_to_end(&mut said).await.unwrap();
        assert_eq!(said, [first, message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0")].concat());
        let mut next = [0; 4];
        remote.read_exact(&mut next).await.unwrap();
        assert_eq!(&next, b"next");
    }

    #[test]
    fn only_a_proof_of_the_password_is_asked_for() {
        for (body, said) in [
            (&b"\0\0\0\0"[..], "no password"),
            (b"\0\0\0\x03", "the clear password"),
            (b"\0\0\0\x05salt", "MD5"),
            (b"\0\0\0\x07", "something other"),
            (b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0\0", "offers no SCRAM-SHA-256"),
            (b"\0\0", "does not speak"),
        ] {
            let error = only_scram(body).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[tokio::test]
    async fn a_program_that_asks_for_tls_speaks_it_itself() {
        let config = tls(rustls::RootCertStore::empty()).unwrap();
        let (local, mut program) = duplex(4096);
        let (remote, mut server) = duplex(4096);
        let carrying = tokio::spawn(async move { carry(local, remote, config, "db.internal").await });
        program.write_all(&GSS_REQUEST).await.unwrap();
        assert_eq!(program.read_u8().await.unwrap(), b'N');
        program.write_all(&SSL_REQUEST).await.unwrap();
        let mut request = [0; 8];
        server.read_exact(&mut request).await.unwrap();
        assert_eq!(request, SSL_REQUEST);
        server.write_all(b"S").await.unwrap();
        assert_eq!(program.read_u8().await.unwrap(), b'S');
        drop((program, server));
        carrying.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_server_without_tls_gets_nothing_and_the_program_is_told() {
        let config = tls(rustls::RootCertStore::empty()).unwrap();
        let (local, mut program) = duplex(4096);
        let (remote, mut server) = duplex(4096);
        let carrying = tokio::spawn(async move { carry(local, remote, config, "db.internal").await });
        program.write_all(b"\0\0\0\x0c\0\x03\0\0user").await.unwrap();
        let mut request = [0; 8];
        server.read_exact(&mut request).await.unwrap();
        server.write_all(b"N").await.unwrap();
        let mut said = String::new();
        program.read_to_string(&mut said).await.unwrap();
        assert!(said.contains("the server refuses TLS"), "{said:?}");
        assert!(carrying.await.unwrap().is_err());
        let mut more = Vec::new();
        server.read_to_end(&mut more).await.unwrap();
        assert!(more.is_empty(), "the first message was told to a server that nobody knows");
    }
}
