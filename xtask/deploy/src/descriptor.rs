//! Open files: how many this program may have, and a way to refuse a connection when there are no more.

use std::fs::File;
use std::io;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// As many as a tunnel ever needs; not all that are allowed, because programs that this one starts inherit the limit, and
/// some of them go through all that there may be.
const WANTED: u64 = 8192;

/// Lets this program have more open files than a shell gives it: 256 on macOS, and each connection of a tunnel is one.
pub fn raise_limit() {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    if soft < WANTED {
        // A limit that cannot be raised shows where it is met.
        setrlimit(Resource::RLIMIT_NOFILE, WANTED.min(hard).max(soft), hard).ok();
    }
}

/// Says whether an error means that there is no room for another open file.
pub fn is_out_of(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::EMFILE | Errno::ENFILE))
}

/// An open file that is given up where a connection can only be refused once it is accepted.
#[derive(Debug, Default)]
pub struct Spare(Option<File>);

impl Spare {
    /// Takes one while there are some.
    pub fn take() -> Spare {
        Spare(File::open("/dev/null").ok())
    }

    /// Accepts the next connection and closes it.
    pub async fn refuse<T>(&mut self, accept: impl Future<Output = T>) {
        self.0 = None;
        drop(accept.await);
        *self = Spare::take();
    }
}
