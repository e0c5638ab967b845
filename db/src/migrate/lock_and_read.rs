//! The first round trip: takes the lock and reads the history.

use std::time::Duration;

use futures_util::future::join;
use futures_util::{StreamExt, pin_mut};
use stack::Events;
use tokio::time::Instant;
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

use super::Stop;
use super::history::{self, Row, Table};
use super::place::{Place, is_true, place};
use crate::lock::{self, FIRST_PAUSE, Holder, LONGEST_PAUSE, Lock, Wait};
use crate::{Error, Session, path};

/// A tenant whose lock we hold, with its history.
pub(super) struct Locked {
    pub(super) history: Vec<Row>,
    pub(super) table: Table,
}

/// How long to wait for the lock, what stops the wait, and who is told about it.
pub(super) struct LockWait<'a> {
    pub(super) limit: Duration,
    pub(super) stop: &'a Stop,
    pub(super) events: &'a Events,
}

const LOCK: Lock = lock::MIGRATIONS;

/// Returns the statements that find and read the history, by the tenant's own `search_path`.
fn look_sql(table: &str) -> String {
    format!("{}; {}; {}", path::RESET, place(table), history::read(table))
}

/// Takes the lock and reads the history in one round trip; asks again while somebody else holds the lock.
///
/// The server answers in order: a history that comes with the lock was read while we held it. A history that comes
/// without the lock is stale and is thrown away.
///
/// # Errors
/// [`Error::Locked`] names who still holds it; [`Error::Misplaced`] if the history is elsewhere or there are several;
/// [`Error::Forbidden`] if the role could not record anything.
pub(super) async fn lock_and_read(
    session: &Session,
    tenant: &str,
    table: &str,
    wait: &LockWait<'_>,
) -> Result<Locked, Error> {
    let start = Instant::now();
    let mut pause = FIRST_PAUSE;
    let mut told = Wait::new(LOCK, super::subject(tenant), wait.events);
    // Two messages: in one, a database whose default isolation is stricter would show the history as it was before the lock.
    let (take, look) = (LOCK.try_sql(), look_sql(table));
    loop {
        let client = session.client();
        let asked = join(join(ask(client, &take), ask(client, &look)), find_holder(session, start.elapsed()));
        // Nothing is written yet: if the server is slow, another tenant may take this one's place meanwhile.
        let ((lock, seen), holder) = in_time(tenant, wait.limit.max(LOOK_LIMIT), asked).await?;
        if let Some(error) = lock.1 {
            return Err(failed("ask for the lock", error));
        }
        if lock.0.first().is_some_and(|row| is_true(row, 0)) {
            let (history, place) = parse(tenant, table, Right::Record, seen)?;
            return Ok(Locked { history, table: place.table(tenant, table)? });
        }
        let holder = holder?;
        if start.elapsed() >= wait.limit {
            let holder = match holder {
                Some(holder) => Some(holder),
                None => lock::find_holder(session, LOCK).await?,
            };
            let holder = holder.map_or_else(|| "another session".to_owned(), |holder| holder.to_string());
            return Err(Error::Locked { lock: LOCK.name, holder, waited: start.elapsed() });
        }
        told.tell(holder);
        tokio::select! {
            () = wait.stop.raised() => {
                let state = "nothing was begun".to_owned();
                return Err(Error::Interrupted { tenant: tenant.to_owned(), state });
            }
            () = tokio::time::sleep(pause.min(wait.limit.saturating_sub(start.elapsed()))) => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Reads the history in one round trip, without the lock: it may be stale in the next moment.
pub(super) async fn look(session: &Session, tenant: &str, table: &str) -> Result<Vec<Row>, Error> {
    see(session, tenant, table, Right::Read).await.map(|(history, _)| history)
}

/// Reads the history and checks the rights to record in one round trip, without the lock.
pub(super) async fn inspect(session: &Session, tenant: &str, table: &str) -> Result<Vec<Row>, Error> {
    see(session, tenant, table, Right::Record).await.map(|(history, _)| history)
}

/// Returns the schema of the history, if there is one, and how many migrations are in it.
pub(crate) async fn find(
    session: &Session,
    tenant: &str,
    table: &str,
) -> Result<(Option<String>, usize), Error> {
    let (history, place) = see(session, tenant, table, Right::Read).await?;
    Ok((place.found, history.len()))
}

async fn see(session: &Session, tenant: &str, table: &str, right: Right) -> Result<(Vec<Row>, Place), Error> {
    let sql = look_sql(table);
    let answer = in_time(tenant, LOOK_LIMIT, ask(session.client(), &sql)).await?;
    parse(tenant, table, right, answer)
}

/// A history that is a view may take as long as its owner likes.
const LOOK_LIMIT: Duration = Duration::from_secs(10);

async fn in_time<T>(tenant: &str, limit: Duration, work: impl Future<Output = T>) -> Result<T, Error> {
    let slow = |_| Error::Slow { tenant: tenant.to_owned(), doing: "read the history", limit };
    tokio::time::timeout(limit, work).await.map_err(slow)
}

/// The rows that a message brought, and the error that ended it.
type Answer = (Vec<SimpleQueryRow>, Option<tokio_postgres::Error>);

/// Asks in one message. Rows come as text, whatever their type; if a statement fails, those of the statements before it come.
async fn ask(client: &Client, sql: &str) -> Answer {
    let mut rows = Vec::new();
    let answer = match client.simple_query_raw(sql).await {
        Ok(answer) => answer,
        Err(error) => return (rows, Some(error)),
    };
    pin_mut!(answer);
    while let Some(message) = answer.next().await {
        match message {
            Ok(SimpleQueryMessage::Row(row)) => rows.push(row),
            Ok(_) => {}
            Err(error) => return (rows, Some(error)),
        }
    }
    (rows, None)
}

/// What the caller will do with the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Right {
    Read,
    Record,
}

/// Returns the history and where it is, from the answer to both questions.
fn parse(tenant: &str, table: &str, right: Right, (rows, error): Answer) -> Result<(Vec<Row>, Place), Error> {
    let broken = |reason: &str| Error::History { table: table.to_owned(), reason: reason.to_owned() };
    let Some((place, rows)) = rows.split_first() else {
        return Err(match error {
            Some(error) => failed("look for the history", error),
            None => broken("the server did not say where it is"),
        });
    };
    let place = Place::parse(place).ok_or_else(|| broken("the server did not say where else it is"))?;
    // Checked first: a history that its name alone does not find may be elsewhere.
    place.check(tenant, table)?;
    if right == Right::Record {
        place.table(tenant, table)?;
    }
    Ok((history::parse(table, rows, error)?, place))
}

/// Returns the holder, from the second attempt on: at the first, the lock is nearly always free.
async fn find_holder(session: &Session, waited: Duration) -> Result<Option<Holder>, Error> {
    if waited < FIRST_PAUSE {
        return Ok(None);
    }
    lock::find_holder(session, LOCK).await
}

fn failed(doing: &str, error: tokio_postgres::Error) -> Error {
    Error::Statement { doing: doing.to_owned(), source: error.into() }
}
