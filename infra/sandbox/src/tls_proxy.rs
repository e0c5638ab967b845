//! PostgreSQL's own way into TLS, in front of a server that listens on a private socket without it.

use std::fmt;
use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio_rustls::TlsAcceptor;

use crate::Error;
use crate::postgres::{ADMIN, Cluster, Socket};
use crate::tls::Authority;

// Codes in the place of a protocol version: https://www.postgresql.org/docs/current/protocol-message-formats.html
const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;
/// PostgreSQL's own limit of a startup packet.
const PACKET_LIMIT: usize = 10_000;

/// The network side of one database: TLS under its endpoint's name, and nothing in the clear.
#[derive(Clone)]
pub struct Front {
    acceptor: TlsAcceptor,
    socket: Arc<Socket>,
}

impl Front {
    /// Makes a certificate for `endpoint` and stands in front of the cluster.
    ///
    /// # Errors
    /// [`Error::Certificate`] or [`Error::Tls`] if the name fits no certificate.
    pub fn new(authority: &Authority, endpoint: &str, cluster: &Cluster) -> Result<Front, Error> {
        Ok(Front { acceptor: authority.acceptor(endpoint)?, socket: cluster.socket() })
    }

    /// Serves one connection to its end. A connection in the clear is refused, as `rds.force_ssl` does.
    ///
    /// # Errors
    /// Those of the connection; a client that just goes away is none of interest.
    pub async fn serve(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
        loop {
            let packet = Packet::read(&mut stream).await?;
            match packet.code() {
                SSL_REQUEST => break,
                GSSENC_REQUEST => stream.write_all(b"N").await?,
                // libpq before 17 cancels in the clear, and servers take it.
                CANCEL_REQUEST => return self.cancel(&packet).await,
                _ => return refuse(&mut stream, &packet, "no pg_hba.conf entry", "no encryption").await,
            }
        }
        stream.write_all(b"S").await?;
        stream.flush().await?;
        let mut stream = self.acceptor.accept(stream).await?;
        let packet = Packet::read(&mut stream).await?;
        if packet.code() == CANCEL_REQUEST {
            return self.cancel(&packet).await;
        }
        if packet.parameter("user") == Some(ADMIN) {
            return refuse(&mut stream, &packet, "pg_hba.conf rejects connection", "SSL encryption").await;
        }
        let mut server = self.socket.connect().await?;
        server.write_all(&packet.0).await?;
        copy_bidirectional(&mut stream, &mut server).await?;
        Ok(())
    }

    async fn cancel(&self, packet: &Packet) -> io::Result<()> {
        let mut server = self.socket.connect().await?;
        server.write_all(&packet.0).await?;
        // The server closes when the signal is on its way.
        server.read_to_end(&mut Vec::new()).await?;
        Ok(())
    }
}

impl fmt::Debug for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Front").finish_non_exhaustive()
    }
}

/// A packet before the first real message: length, code, the rest.
struct Packet(Vec<u8>);

impl Packet {
    async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Packet> {
        let mut head = [0; 8];
        stream.read_exact(&mut head).await?;
        let [a, b, c, d, ..] = head;
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if !(head.len()..=PACKET_LIMIT).contains(&length) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "invalid length of startup packet"));
        }
        let mut packet = head.to_vec();
        packet.resize(length, 0);
        stream.read_exact(&mut packet[head.len()..]).await?;
        Ok(Packet(packet))
    }

    fn code(&self) -> u32 {
        self.0[4..8].iter().fold(0, |code, byte| code << 8 | u32::from(*byte))
    }

    /// Returns a parameter of a startup packet: names and values, each with a zero at its end.
    fn parameter(&self, wanted: &str) -> Option<&str> {
        let mut words = self.0[8..].split(|byte| *byte == 0).map(|word| std::str::from_utf8(word).ok());
        while let (Some(Some(name)), Some(value)) = (words.next(), words.next()) {
            if name == wanted {
                return value;
            }
        }
        None
    }
}

/// Answers FATAL 28000, in PostgreSQL's words.
async fn refuse(
    stream: &mut (impl AsyncWrite + Unpin),
    packet: &Packet,
    what: &str,
    encryption: &str,
) -> io::Result<()> {
    let user = packet.parameter("user").unwrap_or_default();
    let database = packet.parameter("database").unwrap_or(user);
    let message =
        format!("{what} for host \"127.0.0.1\", user \"{user}\", database \"{database}\", {encryption}");
    let fields = format!("SFATAL\0VFATAL\0C28000\0M{message}\0\0");
    let length = u32::try_from(fields.len() + 4).unwrap_or(u32::MAX);
    stream.write_all(b"E").await?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(fields.as_bytes()).await?;
    stream.shutdown().await
}
