//! What an agent can reach: the sandbox's databases by name and this machine's loopback, or what its own host does.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, ToSocketAddrs};

use crate::Front;
use crate::gateway::Network;

/// How long a connection into nowhere takes to fail. The kernel of a real bastion takes two minutes.
const BLACK_HOLE: Duration = Duration::from_secs(2);
const BUFFER_SIZE: usize = 64 << 10;
/// How many probes in a row a silent target may leave unanswered: what Go's dialer, which real agents use, asks of the
/// kernel.
const UNANSWERED_PROBES: u32 = 9;

/// A connection to a target.
pub(super) trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// The names that only agents can resolve. Clones share their entries.
#[derive(Clone, Debug, Default)]
pub struct Directory(Arc<RwLock<HashMap<String, Entry>>>);

#[derive(Clone, Debug)]
struct Entry {
    port: u16,
    front: Front,
}

impl Directory {
    /// Lets the name lead to a database.
    pub fn insert(&self, host: &str, port: u16, front: Front) {
        self.entries_mut(|entries| entries.insert(host.to_ascii_lowercase(), Entry { port, front }));
    }

    /// Forgets the name.
    pub fn remove(&self, host: &str) {
        self.entries_mut(|entries| entries.remove(&host.to_ascii_lowercase()));
    }

    fn find(&self, host: &str) -> Option<Entry> {
        let entries = self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        entries.get(&host.to_ascii_lowercase()).cloned()
    }

    fn entries_mut<T>(&self, change: impl FnOnce(&mut HashMap<String, Entry>) -> T) -> T {
        change(&mut self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

/// Opens connections as a bastion would.
pub struct Dialer(Route);

enum Route {
    /// The names in the directory, and the loopback; no other name resolves and no other address answers.
    Sandbox { directory: Directory, network: Option<Box<Network>> },
    /// What the agent's own machine resolves and routes; a target that is silent for so long is asked whether it is
    /// still there, and again after as long.
    Host { keep_alive: Duration },
}

impl Dialer {
    /// Returns a dialer that asks `network` whether groups let an instance reach a database.
    pub fn new(directory: Directory, network: Network) -> Dialer {
        Dialer(Route::Sandbox { directory, network: Some(Box::new(network)) })
    }

    /// Returns a dialer for which every database is in reach.
    pub fn without_network(directory: Directory) -> Dialer {
        Dialer(Route::Sandbox { directory, network: None })
    }

    /// Returns a dialer that reaches what this machine does, by its resolver: for an agent on a bastion of its own.
    ///
    /// A connection whose target answers no probe, one each `keep_alive`, is given up.
    pub fn host(keep_alive: Duration) -> Dialer {
        Dialer(Route::Host { keep_alive })
    }

    pub(super) async fn dial(
        &self,
        instance_id: &str,
        host: &str,
        port: u16,
    ) -> io::Result<Box<dyn Connection>> {
        let (directory, network) = match &self.0 {
            Route::Sandbox { directory, network } => (directory, network),
            // No limit of our own: as with real agents, the kernel's decides about targets that drop packets.
            Route::Host { keep_alive } => return connect((host, port), Some(*keep_alive)).await,
        };
        if let Some(entry) = directory.find(host) {
            return dial_database(network.as_deref(), instance_id, host, port, entry).await;
        }
        let address = if host == "localhost" { "127.0.0.1" } else { host };
        match address.parse::<IpAddr>() {
            Ok(address) if address.is_loopback() => connect((address, port), None).await,
            Ok(_) => {
                tokio::time::sleep(BLACK_HOLE).await;
                Err(io::ErrorKind::TimedOut.into())
            }
            Err(_) => Err(io::Error::new(io::ErrorKind::NotFound, "no such host")),
        }
    }
}

async fn connect(
    target: impl ToSocketAddrs,
    keep_alive: Option<Duration>,
) -> io::Result<Box<dyn Connection>> {
    let stream = TcpStream::connect(target).await?;
    stream.set_nodelay(true)?;
    // Without it, a target that is cut off in the middle of its work is waited for without end.
    if let Some(keep_alive) = keep_alive {
        let probes = TcpKeepalive::new()
            .with_time(keep_alive)
            .with_interval(keep_alive)
            .with_retries(UNANSWERED_PROBES);
        SockRef::from(&stream).set_tcp_keepalive(&probes)?;
    }
    Ok(Box::new(stream))
}

async fn dial_database(
    network: Option<&Network>,
    instance_id: &str,
    host: &str,
    port: u16,
    entry: Entry,
) -> io::Result<Box<dyn Connection>> {
    if let Some(network) = network
        && network.allows(instance_id, host, port).await.is_err()
    {
        // Security groups drop packets in silence.
        tokio::time::sleep(BLACK_HOLE).await;
        return Err(io::ErrorKind::TimedOut.into());
    }
    if entry.port != port {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    let (near, far) = tokio::io::duplex(BUFFER_SIZE);
    // It ends when the near end is dropped; what it has to say about that interests nobody.
    tokio::spawn(async move { entry.front.serve(far).await.ok() });
    Ok(Box::new(near))
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Route::Sandbox { directory, .. } => f.debug_tuple("Sandbox").field(directory).finish(),
            Route::Host { keep_alive } => f.debug_struct("Host").field("keep_alive", keep_alive).finish(),
        }
    }
}
