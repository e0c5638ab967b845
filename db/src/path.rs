//! What names without a schema mean to the server.
//!
//! Whoever may create in a schema that `search_path` leads to can make a function or an operator that fits our statements
//! better than the server's own, and it runs with our rights: in `postgres` with the master's.

use futures_util::{TryStreamExt, pin_mut};
use tokio_postgres::Client;

/// What names without a schema mean in a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SearchPath {
    /// The server's own objects: neither what is in `public` nor a setting of the role or the database changes what our
    /// statements say.
    #[default]
    Catalog,
    /// What role and database have set, so that a file of migrations finds what any other program would.
    ///
    /// Of our own statements, those that must see that path name everything with its schema; before all others the path is
    /// set to the server's own objects.
    Own,
}

/// The server's own objects. Temporary tables come last: the server looks there first where they are not named.
pub(crate) const CATALOG: &str = "pg_catalog, pg_temp";

/// Gives a session the path that its role and database have set.
pub(crate) const RESET: &str = "RESET search_path";

/// Queues the statement that leads names to the server's own objects, in front of what is sent next: it costs no round trip.
///
/// # Errors
/// The connection is gone.
pub(crate) async fn lead_to_catalog(client: &Client) -> Result<Queued, tokio_postgres::Error> {
    client.simple_query_raw(&format!("SET search_path = {CATALOG}")).await.map(Queued)
}

/// A statement that was sent, and whose answer comes before that of the next.
pub(crate) struct Queued(tokio_postgres::SimpleQueryStream);

impl Queued {
    /// Reads the answer.
    pub(crate) async fn finish(self) -> Result<(), tokio_postgres::Error> {
        let answer = self.0;
        pin_mut!(answer);
        while answer.try_next().await?.is_some() {}
        Ok(())
    }
}
