//! A tunnel: as many sessions as its streams need.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::control::Control;
use crate::error::Error;
use crate::link::{Opening, Progress, Request};
use crate::options::Options;
use crate::pool::{Choice, Chosen, Pool};
use crate::state::State;
use crate::stream::Stream;

/// How long a stream waits for a session of its own before it shares one.
const PATIENCE: Duration = Duration::from_secs(3);

/// Carries any number of connections to one target, over up to [`Options::sessions`] sessions with a bastion.
///
/// Every stream goes to the session with the fewest; a session is started when all that are there are in use. One
/// that ends takes its own streams with it and no others, and the next connection starts a new one.
///
/// It may be used from several tasks. Dropping it ends the sessions and their streams in the background;
/// [`Tunnel::close`] does so and waits.
#[derive(Debug)]
pub struct Tunnel {
    pool: Pool,
}

impl Tunnel {
    /// Starts the first session; returns once it has proved that it carries streams.
    ///
    /// # Errors
    /// When no session can be started or connected to, the agent is too old or asks for what a port session does not
    /// have, or the time is over. The session is terminated then.
    pub async fn open(control: Arc<dyn Control>, mut options: Options) -> Result<Tunnel, Error> {
        options.payload_size = options.payload_size.clamp(1, Options::MAX_PAYLOAD_SIZE);
        let pool = Pool::new(control, options);
        let first = pool.start();
        let begun = first.until(|progress| progress.was_ready || progress.ended.is_some()).await;
        match begun.ended {
            None => Ok(Tunnel { pool }),
            Some(error) => {
                // It is telling the service; whoever hears of the error may rely on that.
                join_all(pool.drain().into_iter().map(|(_, task)| task)).await;
                Err(error)
            }
        }
    }

    /// Opens a connection to the target. The bastion connects afterwards: if it cannot, the stream fails.
    ///
    /// While a connection to the service is being made again this waits.
    ///
    /// # Errors
    /// When there is no session and none can be started, with the reason; or the tunnel is closed.
    pub async fn connect(&self) -> Result<Stream, Error> {
        let mut choice = Choice::Best;
        loop {
            let Some(Chosen { session, slot, duplex, alternative }) = self.pool.choose(choice) else {
                return Err(Error::Closed);
            };
            let (opened, is_opened) = oneshot::channel();
            // A session that has ended drops what it is sent, and `opened` tells.
            drop(session.requests.send(Request::Open(Opening { duplex: Arc::clone(&duplex), slot, opened })));
            let patience = if alternative { PATIENCE } else { Duration::MAX };
            match timeout(patience, is_opened).await {
                Ok(Ok(())) => return Ok(Stream::new(duplex)),
                Err(_elapsed) => choice = Choice::Live,
                Ok(Err(_dropped)) => {
                    let Progress { was_ready, ended } =
                        session.until(|progress| progress.ended.is_some()).await;
                    // A session that never came to life would not the next time either.
                    if !was_ready {
                        if !self.pool.has_live() {
                            return Err(ended.unwrap_or(Error::Closed));
                        }
                        choice = Choice::Live;
                    }
                }
            }
        }
    }

    /// Returns what the tunnel is and has done so far.
    pub fn state(&self) -> State {
        self.pool.state()
    }

    /// Sends what streams have left to send, ends the sessions and all streams, and returns once that is done.
    ///
    /// # Errors
    /// When the service could not be told; a session lives on until its idle timeout then.
    pub async fn close(&self) -> Result<(), Error> {
        let closed = join_all(self.pool.drain().into_iter().map(|(session, task)| async move {
            let (done, is_done) = oneshot::channel();
            let asked = session.requests.send(Request::Close(done));
            // One that has ended by itself may still be telling the service.
            let closed = if asked.is_ok() { is_done.await.unwrap_or(Ok(())) } else { Ok(()) };
            drop(task.await);
            closed
        }))
        .await;
        closed.into_iter().collect()
    }
}
