//! Copies bytes between a local connection and a stream of the tunnel.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};

/// Copies both ways. A program that simply goes away is no error.
pub(super) async fn copy_both_ways<L, R>(local: &mut L, remote: &mut R) -> anyhow::Result<()>
where
    L: AsyncRead + AsyncWrite + Unpin,
    R: AsyncRead + AsyncWrite + Unpin,
{
    match copy_bidirectional(local, remote).await {
        Ok(_) => Ok(()),
        Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => {
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
