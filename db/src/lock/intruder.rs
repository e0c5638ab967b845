//! Ends sessions that hold a lock only to be in the way. A lock is a number: every role can see it in `pg_locks`, and take it
//! in each database that the role may connect to.

use std::time::Duration;

use stack::Events;

use super::key::{ADVISORY, HERE, KEY, Lock};
use crate::{Error, Session};

/// A role that may create neither roles nor databases has no use for our locks, unless it is this session's own role. Such a
/// role holds a lock only to be in the way.
const INTRUDERS: &str = "
    FROM pg_locks l JOIN pg_stat_activity a USING (pid) JOIN pg_roles r ON r.oid = a.usesysid
    WHERE NOT (r.rolsuper OR r.rolcreaterole OR r.rolcreatedb) AND r.rolname NOT IN (session_user, current_user)";

/// Ends the sessions that hold the lock as roles that have no use for it, and warns of them.
///
/// # Errors
/// [`Error::Locked`] if the session's role may not do that: waiting would not help.
pub(super) async fn evict(
    session: &Session,
    lock: Lock,
    (subject, waited): (&str, Duration),
    events: &Events,
) -> Result<(), Error> {
    let sql = format!(
        "SELECT l.pid, r.rolname::text,
                CASE WHEN pg_has_role(a.usesysid, 'USAGE') OR pg_has_role('pg_signal_backend', 'USAGE')
                     THEN pg_terminate_backend(l.pid) END
         {INTRUDERS} AND {ADVISORY} AND {HERE} AND {KEY} = {}",
        lock.key
    );
    for row in session.query(&sql, &[], "see who holds the lock").await? {
        let (pid, role): (i32, String) = (row.get(0), row.get(1));
        let holder = format!("`{role}` (pid {pid})");
        // A session that has just ended by itself needs nothing more.
        if row.get::<_, Option<bool>>(2).is_none() {
            let mend = format!(
                "{holder}, whose role can do nothing that it is for: have it ended by a superuser or a member of \
                 `pg_signal_backend`, with `SELECT pg_terminate_backend({pid})`"
            );
            return Err(Error::Locked { lock: lock.name, holder: mend, waited });
        }
        events.warn(format!(
            "{subject}: {holder} held the lock for {}, which its role can do nothing with; its session was ended",
            lock.name
        ));
    }
    Ok(())
}
