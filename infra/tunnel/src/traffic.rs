//! The trait of a session, as the connection loop sees it: port sessions and shells implement it.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::error::Error;
use crate::reliable::Reliable;
use crate::websocket::{Connection, Reading};

/// A session that connections carry.
pub(crate) trait Traffic: Send {
    /// Returns the layer that numbers and repeats its messages.
    fn reliable(&mut self) -> &mut Reliable;

    /// Returns how long the session may take from its connection to the end of the handshake.
    fn handshake_limit(&self) -> Duration;

    /// Says whether the handshake is complete and the session can be used.
    fn is_ready(&self) -> bool;

    /// Does everything that can be done without waiting.
    fn turn(&mut self, connection: &mut Connection, now: Instant) -> Option<End>;

    /// Takes a frame that came.
    fn on_frame(&mut self, frame: Bytes, connection: &mut Connection) -> Option<End>;

    /// Says whether the connection should be read now.
    fn reading(&self) -> Reading;

    /// Returns when the next turn is due, whatever happens.
    fn next_timer(&self, now: Instant) -> Option<Instant>;

    /// Waits until there is something to do other than to read the connection. The next turn does it.
    ///
    /// The future may be dropped at any time; nothing is lost.
    fn wait(&mut self, reading: Reading) -> impl Future<Output = ()> + Send;

    /// Waits for `future`; `None` when the session is closed at this end meanwhile.
    fn unless_closed<T: Send>(
        &mut self,
        future: impl Future<Output = T> + Send,
    ) -> impl Future<Output = Option<T>> + Send;

    /// Says whether the session is closed at this end.
    fn is_closing(&self) -> bool;

    /// The connection was lost.
    fn on_lost(&mut self);

    /// There is a new connection; returns what must be written on it first.
    fn on_resumed(&mut self) -> Vec<Bytes>;
}

/// Why one connection is over.
pub(crate) enum End {
    /// It broke; the session may live on.
    Lost(Error),
    /// The session is over, or is to end.
    Over(Error),
}

impl End {
    /// The connection is given up because only the service still answers on it, and not the agent.
    pub(crate) fn silent(silence: Duration) -> End {
        End::Lost(Error::Lost {
            why: format!("the bastion's agent has acknowledged nothing for {} seconds", silence.as_secs()),
        })
    }
}
