//! The private unix socket of a cluster.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use tokio::net::UnixStream;

use crate::Error;

const NAME: &str = ".s.PGSQL.5432";
/// The kernel's limit is 108 bytes on Linux and 104 elsewhere.
const PATH_LIMIT: usize = 100;

/// A way to the socket that works however long its path is.
#[derive(Debug)]
pub(crate) struct Socket {
    path: PathBuf,
    // Keeps the descriptor open that a short path may go through.
    _dir: File,
}

impl Socket {
    /// Finds the way to the socket in `dir`, which must exist; the socket itself need not.
    pub(crate) fn new(dir: &Path) -> Result<Socket, Error> {
        let handle = File::open(dir).map_err(Error::file("open", dir))?;
        let direct = dir.join(NAME);
        if direct.as_os_str().len() <= PATH_LIMIT {
            return Ok(Socket { path: direct, _dir: handle });
        }
        if !cfg!(target_os = "linux") {
            return Err(Error::SocketPath { path: direct });
        }
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&handle);
        Ok(Socket { path: PathBuf::from(format!("/proc/self/fd/{descriptor}/{NAME}")), _dir: handle })
    }

    /// Returns the path that leads to the socket.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Connects to the server.
    pub(crate) async fn connect(&self) -> io::Result<UnixStream> {
        UnixStream::connect(&self.path).await
    }
}
