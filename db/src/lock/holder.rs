//! Who holds a lock, and until when.

use std::fmt;
use std::time::Duration;

use super::key::{ADVISORY, HERE, KEY, Lock};
use crate::session::{self, SILENCE_LIMIT};
use crate::{Error, Session};

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
    /// What it does, and for how many seconds: `active for 12 s`.
    pub doing: Option<String>,
    /// For how long it has been silent, if the server waits for it.
    pub silent: Option<Duration>,
}

impl Holder {
    /// Returns whether it is the same session, whatever it does now.
    pub(crate) fn is_same(&self, other: &Holder) -> bool {
        self.pid == other.pid && self.since == other.since
    }

    /// Returns, as the end of a sentence, how long it can still hold the lock if its program is gone. For other programs that
    /// is not known: only our own sessions tell the server to end them when they are silent.
    pub(super) fn end(&self) -> String {
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
