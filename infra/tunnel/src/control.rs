//! What a tunnel asks of whoever knows AWS.

use std::future::Future;
use std::pin::Pin;

use crate::cipher::DataKey;
use crate::payload::Token;

/// A future in a box.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Why [`Control`] could not do what it was asked to.
pub type ControlError = Box<dyn std::error::Error + Send + Sync>;

/// What starting or resuming a session gives.
#[derive(Clone, Debug)]
pub struct SessionToken {
    /// The session.
    pub session_id: String,
    /// The URL of the data channel, to be used as it is; empty if a session that is resumed keeps the one it had.
    pub url: String,
    /// Proves that we are the session's client.
    pub token: Token,
}

/// What a tunnel asks of whoever knows AWS.
pub trait Control: Send + Sync + 'static {
    /// Starts a session with the tunnel's target. It is asked once for every session of the pool.
    fn start(&self) -> BoxFuture<'_, Result<SessionToken, ControlError>>;

    /// Returns the headers that sign a websocket upgrade (SigV4, service `ssmmessages`); none to go unsigned.
    ///
    /// It is asked for every connection, because a signature is good for minutes only. A URL that carries its
    /// own signature is not asked for.
    fn sign(&self, url: &str) -> BoxFuture<'_, Result<Vec<(String, String)>, ControlError>>;

    /// Waits until there are credentials to sign with, which may take as long as somebody needs to give them.
    ///
    /// It is asked for before [`Control::resume`], whose own time is limited.
    fn prepare(&self) -> BoxFuture<'_, Result<(), ControlError>> {
        Box::pin(async { Ok(()) })
    }

    /// Returns a new token and URL for the session, or `None` if the session has ended.
    fn resume(&self, session_id: &str) -> BoxFuture<'_, Result<Option<SessionToken>, ControlError>>;

    /// Ends the session; one that has ended counts as ended.
    fn terminate(&self, session_id: &str) -> BoxFuture<'_, Result<(), ControlError>>;

    /// Returns a data key of [`DataKey::LENGTH`] bytes, made with that key of KMS in that encryption context.
    ///
    /// It is asked for shells alone, where the account wants them encrypted; whoever has none says so.
    fn data_key(
        &self,
        key_id: &str,
        context: &[(String, String)],
    ) -> BoxFuture<'_, Result<DataKey, ControlError>> {
        let _ = (key_id, context);
        Box::pin(async { Err("this client has no access to KMS".into()) })
    }
}
