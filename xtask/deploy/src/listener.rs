//! The local end of a tunnel, for programs that cannot be handed a stream: a port, or a socket that only its owner reaches.

mod duplex;
mod front;
mod peer;
mod socket;

use std::collections::HashSet;
use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::bridge::Bridge;
use crate::descriptor::{self, Spare};
use crate::failure::{Exit, Failure};
use crate::view::View;

use self::duplex::copy_both_ways;
pub use self::front::{SSL_REQUEST, tls};
pub use self::peer::Admits;
use self::peer::Stranger;
pub use self::socket::{PORT as SOCKET_PORT, Socket};

/// What a local end is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Want {
    /// A port on the loopback address; 0 takes a free one.
    Port(u16, Admits),
    /// A socket in that folder, or in a new one.
    Socket(Option<PathBuf>),
}

/// Who speaks TLS with the server for a program of PostgreSQL's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsBy {
    /// The program itself.
    Program,
    /// The local end: the program was built without TLS.
    LocalEnd,
}

impl TlsBy {
    /// Returns the local end that such a program connects to.
    pub fn local_end(self) -> Want {
        match self {
            TlsBy::Program => Want::Port(0, Admits::Owner),
            TlsBy::LocalEnd => Want::Socket(None),
        }
    }
}

/// A local end.
#[derive(Debug)]
pub enum Local {
    /// A port on the loopback address.
    Port(TcpListener, Admits),
    /// A socket in a folder that is its owner's alone.
    Socket(Socket),
}

/// What is at the far end, and what is done to the bytes on their way.
#[derive(Clone)]
pub enum Wrap {
    /// Anything; nothing.
    Nothing,
    /// PostgreSQL. Programs at a port speak TLS themselves; for those at a socket, which by convention do not, it is spoken and
    /// verified here.
    PostgreSql(Arc<rustls::ClientConfig>),
}

impl Local {
    /// Opens it.
    ///
    /// # Errors
    /// The port is taken, or the folder is not ours alone. It is asked for before a session is started, so nothing needs to be
    /// ended.
    pub async fn open(want: &Want) -> Result<Local, Failure> {
        let (port, admits) = match want {
            Want::Port(port, admits) => (*port, *admits),
            Want::Socket(dir) => return Socket::bind(dir.as_deref()).map(Local::Socket),
        };
        let listener = TcpListener::bind(("127.0.0.1", port)).await.map_err(|error| {
            let error = anyhow::Error::new(error).context(format!("cannot listen on 127.0.0.1:{port}"));
            Failure::new(Exit::Tunnel, error)
                .hint("choose another port with `--port N`, or any free one with `--port 0`")
        })?;
        if admits == Admits::Owner {
            peer::open_tables();
        }
        Ok(Local::Port(listener, admits))
    }

    /// Returns its address: `127.0.0.1:5432`, or the path of the socket.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn address(&self) -> io::Result<String> {
        match self {
            Local::Port(listener, _) => Ok(listener.local_addr()?.to_string()),
            Local::Socket(socket) => Ok(socket.path().display().to_string()),
        }
    }

    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Local::Port(listener, admits) => Ok(Accepted::Port(listener.accept().await?.0, *admits)),
            Local::Socket(socket) => Ok(Accepted::Socket(socket.accept().await?)),
        }
    }
}

enum Accepted {
    Port(TcpStream, Admits),
    Socket(UnixStream),
}

/// How long nothing is accepted after an error that is not the connection's own.
const PAUSE: Duration = Duration::from_millis(100);

/// Carries connections until the future is dropped. One that fails is reported and hurts no other; one that cannot be
/// accepted, or is another user's, is refused, and that is told once.
pub async fn serve(local: &Local, bridge: &Arc<Bridge>, wrap: &Wrap, view: &View) -> Infallible {
    let mut connections = JoinSet::new();
    let (mut spare, mut is_told) = (Spare::take(), false);
    let refused = Arc::new(Mutex::new(HashSet::new()));
    loop {
        tokio::select! {
            accepted = local.accept() => match accepted {
                Ok(accepted) => {
                    let (bridge, wrap, view) = (bridge.clone(), wrap.clone(), view.clone());
                    let refused = refused.clone();
                    connections.spawn(async move {
                        let text = match admit(accepted, &bridge, &wrap).await {
                            // Nobody waits for an answer.
                            Ok(None | Some(Stranger::Gone)) => return,
                            Ok(Some(stranger)) => {
                                let mut refused = refused.lock().unwrap_or_else(PoisonError::into_inner);
                                if !refused.insert(stranger.uid()) {
                                    return;
                                }
                                stranger.to_string()
                            }
                            Err(error) => format!("connection ended: {error:#}"),
                        };
                        view.show(&stack::Event::Warning { text });
                    });
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_told, true) {
                        let text = format!("a connection is refused, and others may be: {}", explain(&error));
                        view.show(&stack::Event::Warning { text });
                    }
                    if descriptor::is_out_of(&error) {
                        spare.refuse(local.accept()).await;
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

/// Carries a connection to its end, unless it is a stranger's.
async fn admit(accepted: Accepted, bridge: &Bridge, wrap: &Wrap) -> anyhow::Result<Option<Stranger>> {
    match accepted {
        Accepted::Port(mut local, admits) => {
            if let Some(stranger) = peer::find_stranger(&local, admits).await {
                if matches!(wrap, Wrap::PostgreSql(_)) {
                    front::refuse_at_once(&local, &stranger.to_string());
                }
                return Ok(Some(stranger));
            }
            local.set_nodelay(true)?;
            copy_both_ways(&mut local, &mut bridge.connect().await?).await?;
        }
        Accepted::Socket(mut local) => {
            if let Some(stranger) = peer::find_stranger_at_socket(&local) {
                return Ok(Some(stranger));
            }
            let mut remote = bridge.connect().await?;
            match wrap {
                Wrap::Nothing => copy_both_ways(&mut local, &mut remote).await?,
                Wrap::PostgreSql(tls) => front::carry(local, remote, tls.clone(), &bridge.host).await?,
            }
        }
    }
    Ok(None)
}
