//! A socket in a folder that is its owner's alone, named as PostgreSQL's clients look for it.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream as Probe;
use std::path::{Path, PathBuf};

use nix::unistd::Uid;
use tokio::net::{UnixListener, UnixStream};

use crate::failure::{Exit, Failure};

/// The port that is part of the name: the one that clients look for unless told otherwise.
pub const PORT: u16 = 5432;
/// The longest path of a socket that every system takes (`sun_path` has 104 bytes on macOS, 108 on Linux).
const MAX_PATH_BYTES: usize = 103;
/// How many names are tried.
const TRIES: u32 = 100;

/// A socket that is open; it is removed when this is dropped, and so is a folder that was made for it.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    dir: PathBuf,
    path: PathBuf,
    is_new_dir: bool,
}

impl Socket {
    /// Opens one in that folder, or in a new one in the user's folder for such (`XDG_RUNTIME_DIR`, else `TMPDIR`, `/tmp`).
    ///
    /// # Errors
    /// Exit 2 if the folder is not ours alone, or its path too long; 5 if another program listens there.
    pub fn bind(dir: Option<&Path>) -> Result<Socket, Failure> {
        let (dir, is_new_dir) = match dir {
            None => (new_dir().map_err(|error| cannot(&std::env::temp_dir(), &error))?, true),
            Some(dir) => {
                let dir = std::path::absolute(dir).map_err(|error| cannot(dir, &error))?;
                private(&dir)?;
                (dir, false)
            }
        };
        let path = dir.join(format!(".s.PGSQL.{PORT}"));
        let opened = open(&path);
        if opened.is_err() && is_new_dir {
            fs::remove_dir(&dir).ok();
        }
        Ok(Socket { listener: opened?, dir, path, is_new_dir })
    }

    /// Returns the folder, which clients call the host.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the path of the socket itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        Ok(self.listener.accept().await?.0)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // What cannot be removed leads nowhere, and is nobody else's to see.
        fs::remove_file(&self.path).ok();
        if self.is_new_dir {
            fs::remove_dir(&self.dir).ok();
        }
    }
}

fn cannot(dir: &Path, error: &io::Error) -> Failure {
    Failure::usage(format!("cannot make a socket in `{}`: {error}", dir.display()))
        .hint("name another folder with `--socket=DIR`")
}

fn new_dir() -> io::Result<PathBuf> {
    let base = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_dir());
    let base = base.unwrap_or_else(std::env::temp_dir);
    let mut number = 0;
    loop {
        let dir = base.join(format!("drawbridge-{}-{number}", std::process::id()));
        match DirBuilder::new().mode(0o700).create(&dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < TRIES => number += 1,
            made => return made.map(|()| dir),
        }
    }
}

/// Makes the folder if there is none, and refuses one that others may enter.
fn private(dir: &Path) -> Result<(), Failure> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(cannot(dir, &error)),
        Ok(()) | Err(_) => {}
    }
    let found = fs::symlink_metadata(dir).map_err(|error| cannot(dir, &error))?;
    let refuse = |reason: &str| {
        let text = format!("`{}` cannot hold the socket: {reason}", dir.display());
        Err(Failure::usage(text)
            .hint("name a folder that is not there yet, or run `chmod 700` on one of yours"))
    };
    if !found.is_dir() {
        refuse("it is no folder")
    } else if found.uid() != Uid::effective().as_raw() {
        refuse("it belongs to another user")
    } else if found.mode() & 0o077 != 0 {
        refuse("other users may enter it")
    } else {
        Ok(())
    }
}

fn open(path: &Path) -> Result<UnixListener, Failure> {
    let length = path.as_os_str().len();
    if length > MAX_PATH_BYTES {
        let text =
            format!("`{}` is too long for a socket: {length} of {MAX_PATH_BYTES} bytes", path.display());
        return Err(Failure::usage(text).hint("name a folder with a shorter path with `--socket=DIR`"));
    }
    let failed = |error: io::Error| {
        let error = anyhow::Error::new(error).context(format!("cannot listen on `{}`", path.display()));
        Failure::new(Exit::Tunnel, error).hint("name another folder with `--socket=DIR`")
    };
    match Probe::connect(path) {
        Ok(_) => return Err(failed(io::ErrorKind::AddrInUse.into())),
        // Of a tunnel that was killed.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed)?
        }
        // Nothing is there, or what cannot be taken away: then it cannot be bound either.
        Err(_) => {}
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[tokio::test]
    async fn a_socket_is_its_owners_alone_and_leaves_nothing_behind() {
        let socket = Socket::bind(None).unwrap();
        let dir = socket.dir().to_owned();
        assert_eq!((mode(&dir), mode(socket.path())), (0o700, 0o600));
        let other = Socket::bind(None).unwrap();
        assert_ne!(other.dir(), dir);
        drop(socket);
        assert!(!dir.exists() && other.path().exists());
    }

    #[tokio::test]
    async fn a_folder_that_others_may_enter_is_refused_and_a_dead_socket_replaced() {
        let base = Socket::bind(None).unwrap();
        let dir = base.dir().join("named");
        let socket = Socket::bind(Some(&dir)).unwrap();
        assert_eq!(mode(&dir), 0o700);
        let taken = Socket::bind(Some(&dir)).unwrap_err();
        assert_eq!(taken.exit, Exit::Tunnel);
        // As after a kill: the file is there, and nobody listens.
        let path = socket.path().to_owned();
        drop(socket);
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let socket = Socket::bind(Some(&dir)).unwrap();
        drop(socket);
        fs::set_permissions(&dir, Permissions::from_mode(0o750)).unwrap();
        let lax = Socket::bind(Some(&dir)).unwrap_err();
        assert!(lax.exit == Exit::Usage && lax.render_text().contains("other users may enter it"));
        fs::remove_dir(&dir).unwrap();
        std::os::unix::fs::symlink(base.dir(), &dir).unwrap();
        assert!(Socket::bind(Some(&dir)).unwrap_err().render_text().contains("it is no folder"));
        fs::remove_file(&dir).unwrap();
        let long = base.dir().join("x".repeat(100));
        assert!(Socket::bind(Some(&long)).unwrap_err().render_text().contains("too long"));
        fs::remove_dir(&long).unwrap();
    }
}
