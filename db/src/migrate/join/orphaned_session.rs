//! Ends the sessions that a dead runner leaves on the server. Behind a tunnel nobody closes them: the session of a client
//! that was killed stays open for minutes, and keeps the tenant's lock.

use std::sync::Arc;

use stack::Event;
use tokio_postgres::types::Type;

use super::super::task::Task;
use super::super::{connect, subject};
use super::RunName;
use crate::lock::{FIRST_PAUSE, LONGEST_PAUSE};
use crate::quote::MAX_NAME_BYTES;
use crate::{Error, Login, Session};

/// Returns what all connections of a run to its tenants are called; names are ASCII.
pub(super) fn application_name(run: &RunName) -> String {
    let mut name = format!("drawbridge run {run}");
    name.truncate(MAX_NAME_BYTES);
    name
}

/// A runner that has the lease of a tenant and has not begun knows that the run's other sessions there are orphaned. A role may
/// end its own sessions, and those of roles that it is a member of, as a second user is of the first. A session that still works
/// is left to finish: all of its work was sent, COMMIT included.
const END_IDLE: &str = "
    SELECT pid, state || ' for ' || extract(epoch FROM clock_timestamp() - state_change)::int8 || ' s',
           CASE WHEN state LIKE 'idle%' THEN pg_terminate_backend(pid) END
    FROM pg_stat_activity
    WHERE datname = current_database() AND pg_has_role(session_user, usename, 'USAGE') AND application_name = $1
      AND pid <> pg_backend_pid() ORDER BY state LIKE 'idle%', pid";

/// Ends idle sessions that other runners of the run left in the tenant's database, and waits for those that still work.
/// Returns the connection that it used.
pub(super) async fn end_orphans(task: &Arc<Task>, login: &Login) -> Option<Session> {
    tokio::select! {
        () = task.options.stop.raised() => None,
        // The migration would meet the same error, and reports it.
        session = Box::pin(end_all(task, login)) => session.ok(),
    }
}

async fn end_all(task: &Task, login: &Login) -> Result<Session, Error> {
    let session = connect(&task.server, login, &task.options.connect).await?;
    // As whoever logged in, who may act as another role.
    session.execute("SET ROLE NONE", || "act as oneself".to_owned()).await?;
    let name = task.options.connect.application_name.as_str();
    let mut pause = FIRST_PAUSE;
    loop {
        let rows = session.query(END_IDLE, &[(&name, Type::TEXT)], "see what a dead runner left").await?;
        let Some(row) = rows.first() else {
            session.execute("RESET ROLE", || "act as the owner again".to_owned()).await?;
            return Ok(session);
        };
        if row.get::<_, Option<bool>>(2).is_none() {
            let doing = row.get::<_, Option<String>>(1).unwrap_or_default();
            let status = format!(
                "what a runner that is gone had sent is still at work (pid {}, {doing})",
                row.get::<_, i32>(0)
            );
            task.events.emit(Event::StepWaiting { subject: subject(&login.database), status });
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
