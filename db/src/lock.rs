//! Advisory locks: only one program at a time works on a role or on a tenant's database, or migrates a database.

mod holder;
mod intruder;
mod key;
mod wait;

use std::time::Duration;

use stack::Events;
use tokio::time::Instant;
use tokio_postgres::types::Type;

use crate::{Error, Session};

pub use self::holder::{Holder, find_holder};
pub(crate) use self::key::NOT_HELD;
pub use self::key::{Lock, MIGRATIONS, RELEASE, RUNS, TENANTS};
pub(crate) use self::wait::Wait;

/// How long to wait for a lock. Longer than the server takes to end the session of a program that was killed, which frees it.
pub const LOCK_LIMIT: Duration = Duration::from_secs(60);

/// The first pause is short: a session that has just closed may hold its lock for a moment longer.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(20);
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Takes the lock. Asks again until `limit` has passed.
///
/// It asks and does not wait in the server: a waiting `pg_advisory_lock` is cut off by `lock_timeout`, and its snapshot can
/// deadlock with the holder's `CREATE INDEX CONCURRENTLY`.
///
/// It ends the session of a holder whose role has no use for the lock.
///
/// # Errors
/// [`Error::Locked`] names who still holds it.
pub async fn acquire(
    session: &Session,
    lock: Lock,
    subject: &str,
    limit: Duration,
    events: &Events,
) -> Result<(), Error> {
    ask_until(session, lock, "SELECT pg_try_advisory_lock($1)", (subject, limit, events)).await
}

/// Takes the lock beside others who share it.
///
/// # Errors
/// [`Error::Locked`] names who still holds it alone.
pub async fn acquire_shared(
    session: &Session,
    lock: Lock,
    subject: &str,
    limit: Duration,
    events: &Events,
) -> Result<(), Error> {
    ask_until(session, lock, "SELECT pg_try_advisory_lock_shared($1)", (subject, limit, events)).await
}

async fn ask_until(
    session: &Session,
    lock: Lock,
    sql: &str,
    (subject, limit, events): (&str, Duration, &Events),
) -> Result<(), Error> {
    let start = Instant::now();
    let mut pause = FIRST_PAUSE;
    let mut wait = Wait::new(lock, subject.to_owned(), events);
    loop {
        if ask(session, lock, sql).await? {
            return Ok(());
        }
        intruder::evict(session, lock, (subject, start.elapsed()), events).await?;
        let holder = find_holder(session, lock).await?;
        if start.elapsed() >= limit {
            let holder = holder.map_or_else(|| "another session".to_owned(), |holder| holder.to_string());
            return Err(Error::Locked { lock: lock.name, holder, waited: start.elapsed() });
        }
        wait.tell(holder);
        tokio::time::sleep(pause.min(limit.saturating_sub(start.elapsed()))).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Gives the lock back.
///
/// # Errors
/// [`Error::LockLost`] if this session did not hold it.
pub async fn release(session: &Session, lock: Lock) -> Result<(), Error> {
    match ask(session, lock, "SELECT pg_advisory_unlock($1)").await? {
        true => Ok(()),
        false => Err(Error::LockLost { lock: lock.name }),
    }
}

async fn ask(session: &Session, lock: Lock, sql: &str) -> Result<bool, Error> {
    let rows = session.query(sql, &[(&lock.key, Type::INT8)], "ask for the lock").await?;
    Ok(rows.first().is_some_and(|row| row.get(0)))
}
