//! Advisory locks: one works on a role or a tenant's database at a time, and one migrates a database at a time.

mod intruder;

use std::fmt;
use std::time::Duration;

use stack::{Event, Events};
use tokio::time::Instant;
use tokio_postgres::types::Type;

use crate::session::{self, SILENCE_LIMIT};
use crate::{Error, Session};

/// A lock that belongs to a session, in the database that the session is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    /// What it is for, in words.
    pub name: &'static str,
    key: i64,
}

impl Lock {
    /// Returns a statement that fails with [`NOT_HELD`] unless its own backend holds the lock: a pooler in between
    /// may have sent the transaction to another one.
    ///
    /// Only who holds a lock can give it back. The transaction's own hold on it, which ends with the transaction, keeps
    /// others out meanwhile. `pg_locks` says it as well, but has to visit every lock of the server for that.
    pub(crate) fn guard(self) -> String {
        let key = self.key;
        format!(
            "SELECT 1 OPERATOR(pg_catalog./) CASE WHEN NOT pg_catalog.pg_try_advisory_xact_lock({key}) THEN 0 \
             WHEN NOT pg_catalog.pg_advisory_unlock({key}) THEN 0 \
             ELSE pg_catalog.pg_try_advisory_lock({key})::int END"
        )
    }

    /// Returns what gives the lock back after whatever failed: a message that is cut short leaves its transaction open.
    pub(crate) fn give_back_sql(self) -> String {
        format!("ROLLBACK; SELECT pg_catalog.pg_advisory_unlock({})", self.key)
    }

    /// Returns a query that takes the lock, if nobody else holds it, and says so.
    pub(crate) fn try_sql(self) -> String {
        format!("SELECT pg_catalog.pg_try_advisory_lock({})", self.key)
    }
}

/// What [`Lock::guard`] fails with: a division by zero.
pub(crate) const NOT_HELD: &str = "22012";

const ADVISORY: &str = "l.locktype = 'advisory' AND l.granted AND l.objsubid = 1";
const HERE: &str = "l.database = (SELECT oid FROM pg_database WHERE datname = current_database())";
const KEY: &str = "(l.classid::int8 << 32) | l.objid::int8";

/// Held in `postgres`: shared by all who create or drop tenants, alone while passwords are rotated, which those set as well.
pub const TENANTS: Lock = Lock { name: "tenants and their roles", key: 0x6472_6177_0000_0001 };

/// Held in a tenant's database while it is migrated.
pub const MIGRATIONS: Lock = Lock { name: "migrations", key: 0x6472_6177_0000_0002 };

/// Held in `postgres` while the table of runs is created.
pub const RUNS: Lock = Lock { name: "the table of runs", key: 0x6472_6177_0000_0003 };

/// Held in `postgres` by a release, from before it creates tenants until they are verified.
pub const RELEASE: Lock = Lock { name: "the release", key: 0x6472_6177_0000_0010 };

impl Lock {
    /// Returns the lock of one role, held in `postgres` while a tenant of it is created or dropped: tenants may share one.
    pub fn role(name: &str) -> Lock {
        Lock { name: "the role", key: key(b'r', name) }
    }

    /// Returns the lock of one database, held in `postgres` while it is created or dropped. Whoever takes a role's lock as
    /// well takes that first.
    pub fn database(name: &str) -> Lock {
        Lock { name: "the database", key: key(b'd', name) }
    }
}

/// Returns the key of a name: the mark of our locks, and 48 bits of its hash. Two names that share one wait for each other
/// once in a great while.
fn key(kind: u8, name: &str) -> i64 {
    let hash = crate::hash::of(std::iter::once(kind).chain(name.bytes()));
    0x6472_0000_0000_0000 | i64::try_from(hash >> 16).expect("invariant: 48 bits are left")
}

/// How long to wait for a lock. Longer than the server takes to end the session of a program that was killed, which frees it.
pub const LOCK_LIMIT: Duration = Duration::from_secs(60);

/// A session that has just said goodbye may hold its lock for a moment longer.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(20);
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Takes the lock, asking again until `limit` has passed.
///
/// Asking beats waiting: a waiting `pg_advisory_lock` is cut off by `lock_timeout`, and its snapshot can deadlock
/// with the holder's `CREATE INDEX CONCURRENTLY`.
///
/// A session that holds it and whose role could do nothing that the lock is for is ended.
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

/// How often a wait is told again while the same session holds the lock: the seconds that are left count down.
const TELL_AGAIN: Duration = Duration::from_secs(5);
/// A wait that is longer than that is told to those as well who see no steps.
const NOTE_AFTER: Duration = Duration::from_secs(2);

/// Tells those who wait for a lock who holds it, and how that ends.
pub(crate) struct Wait<'a> {
    lock: Lock,
    subject: String,
    events: &'a Events,
    began: Instant,
    told: Option<(Holder, Instant)>,
    noted: bool,
}

impl<'a> Wait<'a> {
    pub(crate) fn new(lock: Lock, subject: String, events: &'a Events) -> Wait<'a> {
        Wait { lock, subject, events, began: Instant::now(), told: None, noted: false }
    }

    /// Tells of the one who was just seen to hold it; nothing if that was told a moment ago.
    pub(crate) fn tell(&mut self, holder: Option<Holder>) {
        let Some(holder) = holder else { return };
        let is_known = self.told.as_ref().is_some_and(|(told, _)| holder.is_same(told));
        let is_fresh = is_known && self.told.as_ref().is_some_and(|(_, at)| at.elapsed() < TELL_AGAIN);
        self.noted &= is_known;
        let is_due = !self.noted && self.began.elapsed() >= NOTE_AFTER;
        if is_fresh && !is_due {
            return;
        }
        let status = format!("the lock for {} is held by {holder}{}", self.lock.name, holder.end());
        if is_due {
            self.noted = true;
            self.events.note(format!("{}: {status}", self.subject));
        }
        self.events.emit(Event::StepWaiting { subject: self.subject.clone(), status });
        self.told = Some((holder, Instant::now()));
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

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The server's process.
    pub pid: i32,
    /// The role.
    pub user: String,
    /// The application's name.
    pub application: String,
    /// When it connected, by the server's clock; only its own role and monitors may know.
    pub since: Option<String>,
    /// What it does, and since how many seconds: `active for 12 s`.
    pub doing: Option<String>,
    /// For how long it has said nothing, if the server waits for it.
    pub silent: Option<Duration>,
}

impl Holder {
    /// Returns whether it is the same session, whatever it does now.
    pub(crate) fn is_same(&self, other: &Holder) -> bool {
        self.pid == other.pid && self.since == other.since
    }

    /// Returns how long it may hold the lock still if its program is gone, as the end of a sentence. Of other programs that is
    /// not known: only ours have the server end what is silent.
    fn end(&self) -> String {
        if !session::is_ours(&self.application) {
            return String::new();
        }
        let limit = SILENCE_LIMIT.as_secs();
        match (self.silent, &self.doing) {
            (Some(silent), _) => {
                let left = SILENCE_LIMIT.saturating_sub(silent).as_secs();
                format!("; if its program is gone, the server ends it within {left} s")
            }
            (None, Some(_)) => format!("; if its program is gone, the server ends it {limit} s after that"),
            // What another role does is not shown to everybody.
            (None, None) => {
                format!("; if its program is gone, the server ends it after {limit} s of silence")
            }
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` as `{}` (pid {}", self.application, self.user, self.pid)?;
        if let Some(since) = &self.since {
            write!(f, ", connected since {since}")?;
        }
        if let Some(doing) = &self.doing {
            write!(f, ", {doing}")?;
        }
        f.write_str(")")
    }
}

/// Returns who holds the lock in the session's database.
///
/// # Errors
/// [`Error::Statement`] if the server does not answer.
pub async fn find_holder(session: &Session, lock: Lock) -> Result<Option<Holder>, Error> {
    let sql = format!(
        "SELECT l.pid, coalesce(a.usename::text, '?'), coalesce(a.application_name, '?'),
                to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),
                a.state || ' for ' || extract(epoch FROM clock_timestamp() - a.state_change)::int8 || ' s',
                CASE WHEN a.state LIKE 'idle%'
                     THEN extract(epoch FROM clock_timestamp() - a.state_change)::float8 END
         FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid) WHERE {ADVISORY} AND {HERE} AND {KEY} = {}",
        lock.key
    );
    let rows = session.query(&sql, &[], "see who holds the lock").await?;
    Ok(rows.first().map(|row| Holder {
        pid: row.get(0),
        user: row.get(1),
        application: row.get(2),
        since: row.get(3),
        doing: row.get(4),
        silent: row.get::<_, Option<f64>>(5).map(|seconds| Duration::from_secs_f64(seconds.max(0.0))),
    }))
}

async fn ask(session: &Session, lock: Lock, sql: &str) -> Result<bool, Error> {
    let rows = session.query(sql, &[(&lock.key, Type::INT8)], "ask for the lock").await?;
    Ok(rows.first().is_some_and(|row| row.get(0)))
}
