//! Whose connection it is. A port on the loopback address is open to every user of the machine.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Seek};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::unistd::{Uid, User};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::sleep;

/// Whose connections are carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admits {
    /// Those of the user who runs this, and of root, who can do as that user anyway. Where the kernel does not tell whose a
    /// connection is (any but Linux), everybody's.
    Owner,
    /// Those of every user of this machine.
    Anybody,
}

/// Somebody whose connection is not carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stranger {
    /// Another user.
    User(u32),
    /// Nobody knows who.
    Unknown(String),
    /// Nobody any more: it is gone already.
    Gone,
}

impl Stranger {
    /// Returns the user's number, if it is known.
    pub(super) fn uid(&self) -> Option<u32> {
        match self {
            Stranger::User(uid) => Some(*uid),
            Stranger::Unknown(_) | Stranger::Gone => None,
        }
    }
}

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stranger::User(uid) => {
                let user = User::from_uid(Uid::from_raw(*uid)).ok().flatten();
                let name =
                    user.map_or_else(|| "another user".to_owned(), |user| format!("user `{}`", user.name));
                write!(f, "a connection of {name} (uid {uid}) is refused")?;
            }
            Stranger::Unknown(why) => {
                write!(f, "a connection is refused, as it is not known whose it is: {why}")?
            }
            Stranger::Gone => return f.write_str("a connection ended before it was known whose it was"),
        }
        f.write_str(
            ": only the user who opened the tunnel may use it; `--any-user` admits everybody on this machine, and \
             `--socket` opens a socket that nobody else can even see",
        )
    }
}

/// The connections of this network namespace, one a line (proc_pid_net(5)).
const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];
/// How often a connection that is not in the tables is looked for: the kernel does not hold them still while they are read.
const LOOKS: u32 = 3;
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// Returns whose connection it is, if it is not to be carried.
pub(super) async fn find_stranger(stream: &TcpStream, admits: Admits) -> Option<Stranger> {
    if admits == Admits::Anybody || cfg!(not(target_os = "linux")) {
        return None;
    }
    let unknown = |error: io::Error| Some(Stranger::Unknown(error.to_string()));
    let (peer, own) = match (stream.peer_addr(), stream.local_addr()) {
        (Ok(peer), Ok(own)) => (peer, own),
        // It was reset.
        (Err(_), _) | (_, Err(_)) => return Some(Stranger::Gone),
    };
    for _ in 0..LOOKS {
        // Thousands of connections are a table that takes milliseconds.
        let looked = tokio::task::spawn_blocking(move || look(peer, own)).await;
        match looked.map_err(io::Error::other).and_then(|looked| looked) {
            Ok(Some(owner)) => return owner.stranger(),
            Ok(None) => sleep(PAUSE).await,
            Err(error) => return unknown(error),
        }
    }
    unknown(io::Error::other("the kernel does not list it"))
}

/// Returns whose connection it is, if it is not to be carried. The folder keeps others out already.
pub(super) fn find_stranger_at_socket(stream: &UnixStream) -> Option<Stranger> {
    match stream.peer_cred() {
        Ok(peer) => Owner { uid: peer.uid(), is_open: true }.stranger(),
        Err(error) => Some(Stranger::Unknown(error.to_string())),
    }
}

/// The owner of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Owner {
    uid: u32,
    /// A socket that no program has open any more is root's in the kernel's tables, whoever opened it.
    is_open: bool,
}

impl Owner {
    fn stranger(self) -> Option<Stranger> {
        if !self.is_open {
            return Some(Stranger::Gone);
        }
        let is_admitted = self.uid == 0 || self.uid == Uid::effective().as_raw();
        (!is_admitted).then_some(Stranger::User(self.uid))
    }
}

/// The tables, which stay open: there may be no room for another open file when somebody connects.
static OPEN: Mutex<[Option<File>; 2]> = Mutex::new([None, None]);

/// Opens the tables before anybody connects: many connections at once may take the last open file before the first of them is
/// looked for.
pub(super) fn open_tables() {
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    for (table, file) in TABLES.into_iter().zip(open.iter_mut()) {
        // A table that cannot be opened now is tried again, and reported, when somebody connects.
        *file = file.take().or_else(|| File::open(table).ok());
    }
}

/// Looks for the other end's socket: its own address is `peer`, and it leads to `own`.
fn look(peer: SocketAddr, own: SocketAddr) -> io::Result<Option<Owner>> {
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    for (table, file) in TABLES.into_iter().zip(open.iter_mut()) {
        match read(table, file) {
            Ok(text) => {
                if let Some(owner) = find(&text, peer, own) {
                    return Ok(Some(owner));
                }
            }
            Err(error) if table == TABLES[0] => {
                return Err(io::Error::new(error.kind(), format!("cannot read `{table}`: {error}")));
            }
            // A kernel without IPv6 has no second table.
            Err(_) => {}
        }
    }
    Ok(None)
}

/// Reads a table as it is now.
fn read(table: &str, file: &mut Option<File>) -> io::Result<String> {
    let mut file = match file {
        Some(file) => &*file,
        None => &*file.insert(File::open(table)?),
    };
    file.rewind()?;
    io::read_to_string(&mut file)
}

fn find(table: &str, peer: SocketAddr, own: SocketAddr) -> Option<Owner> {
    let mut seen = HashMap::new();
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, local, remote, _, _, _, _, uid, _, inode, ..] = fields.as_slice() else { return None };
        let mut is = |text: &str, address: SocketAddr| {
            let ip = address.ip().to_canonical();
            let parsed = *seen.entry(text.to_owned()).or_insert_with(|| parse(text));
            parsed == Some((ip, address.port()))
        };
        if !is(local, peer) || !is(remote, own) {
            return None;
        }
        Some(Owner { uid: uid.parse().ok()?, is_open: *inode != "0" })
    })
}

/// Returns the address in `0100007F:1538`: words of 32 bits as this machine keeps them, in hexadecimal digits.
fn parse(text: &str) -> Option<(IpAddr, u16)> {
    let (ip, port) = text.split_once(':')?;
    if !ip.is_ascii() {
        return None;
    }
    let words = (0..ip.len()).step_by(8).map(|at| u32::from_str_radix(ip.get(at..at + 8)?, 16).ok());
    let bytes: Vec<u8> =
        words.collect::<Option<Vec<u32>>>()?.into_iter().flat_map(u32::to_ne_bytes).collect();
    let ip = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(bytes) => IpAddr::from(bytes),
        Err(_) => IpAddr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?),
    };
    Some((ip.to_canonical(), u16::from_str_radix(port, 16).ok()?))
}

#[cfg(all(test, target_endian = "little"))]
mod tests {
    use super::*;

    const TCP: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 1001 1 0 100 0 0 10 0
   1: 0100007F:1538 0100007F:D431 01 00000000:00000000 00:00000000 00000000  1000        0 1002 1 0 20 4 30 10 -1
   2: 0100007F:D431 0100007F:1538 01 00000000:00000000 02:000A7A2C 00000000 65534        0 1003 2 0 20 4 30 10 -1
   3: 0100007F:D432 0100007F:1538 06 00000000:00000000 03:00001517 00000000     0        0 0 3 0
";
    const TCP6: &str = "\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0000000000000000FFFF00000100007F:D433 0000000000000000FFFF00000100007F:1538 01 00000000:00000000 00:00000000 00000000  1001        0 1004 1 0 20 4 30 10 -1
";

    #[test]
    fn the_owner_of_the_other_end_is_found_and_not_of_this_one() {
        let (own, peer): (SocketAddr, SocketAddr) =
            ("127.0.0.1:5432".parse().unwrap(), "127.0.0.1:54321".parse().unwrap());
        assert_eq!(find(TCP, peer, own), Some(Owner { uid: 65534, is_open: true }));
        let at = |port| SocketAddr::new(peer.ip(), port);
        // What nobody has open is listed as root's.
        assert_eq!(find(TCP, at(54322), own).unwrap().stranger(), Some(Stranger::Gone));
        assert_eq!(find(TCP6, at(54323), own), Some(Owner { uid: 1001, is_open: true }));
        assert_eq!(find(TCP, at(1), own), None);
        assert_eq!(find("nonsense\nof : all kinds a b c d e f\n", peer, own), None);
    }

    #[test]
    fn root_and_the_user_itself_are_no_strangers() {
        let own = Uid::effective().as_raw();
        let owner = |uid| Owner { uid, is_open: true }.stranger();
        assert_eq!((owner(0), owner(own)), (None, None));
        assert_eq!(owner(own + 12_345), Some(Stranger::User(own + 12_345)));
    }

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn an_own_connection_is_found_in_the_kernels_tables() {
        for own in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = tokio::net::TcpListener::bind(own).await else { continue };
            let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (far, _) = listener.accept().await.unwrap();
            assert_eq!(find_stranger(&far, Admits::Owner).await, None);
            drop(near);
            assert_eq!(find_stranger(&far, Admits::Anybody).await, None);
        }
    }
}
