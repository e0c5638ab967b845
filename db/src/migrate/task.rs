//! One tenant from connecting to its report: tried again where that may help, interrupted without a doubt left.

use std::convert::identity;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::pin_mut;
use stack::{Event, Events};

use super::aside::Aside;
use super::engine;
use super::lock_and_read::{self, LockWait};
use super::message::Work;
use super::options::RunOptions;
use super::outcome::{Outcome, TenantReport};
use super::segment::{self, Segment};
use super::target::Target;
use super::{connect, no_transaction, plan, retry, subject};
use crate::migration::MigrationSet;
use crate::{Error, Migration, Server, Session, lock};

/// How long a cancelled transaction may take to say that it is rolled back.
const CANCEL_LIMIT: Duration = Duration::from_secs(5);
/// A cancellation that arrives between two statements is lost.
const CANCEL_AGAIN: Duration = Duration::from_millis(250);

const NOT_BEGUN: &str = "nothing was begun";

/// What all tenants of a run share.
pub(super) struct Task {
    pub(super) server: Server,
    pub(super) options: RunOptions,
    pub(super) events: Events,
    pub(super) aside: Aside,
}

/// How far a tenant is, over all its attempts; numbers are places in the list of files.
#[derive(Default)]
struct Progress {
    /// What is known to be committed by this run.
    committed: Vec<usize>,
    /// What was sent and not answered.
    in_doubt: Vec<usize>,
    /// Whether a file without a transaction was begun and not recorded.
    is_half_done: bool,
}

impl Progress {
    /// Takes note of what is pending now: what was in doubt and is not pending was committed.
    fn look(&mut self, pending: &[usize]) {
        let settled = std::mem::take(&mut self.in_doubt);
        self.committed.extend(settled.into_iter().filter(|at| !pending.contains(at)));
    }

    fn commit(&mut self) {
        self.committed.append(&mut self.in_doubt);
    }

    /// An error that the server told leaves nothing of a transaction, and so nothing in doubt.
    fn fail(&mut self, error: &Error) {
        if !matches!(error, Error::Lost { .. }) {
            self.in_doubt.clear();
        }
    }

    fn applied(&self, migrations: &[Migration]) -> Vec<String> {
        self.committed.iter().map(|at| migrations[*at].to_string()).collect()
    }
}

/// Migrates one tenant.
pub(super) async fn migrate(task: Arc<Task>, target: Target, kept: Option<Session>) -> TenantReport {
    let tenant = target.login.database.clone();
    let start = Instant::now();
    task.events.emit(Event::StepStarted { subject: subject(&tenant), verb: "migrate".to_owned() });
    let outcome = attempts(&task, &target, kept).await;
    let elapsed = start.elapsed();
    let finished = |outcome: String| Event::StepFinished { subject: subject(&tenant), outcome, elapsed };
    let failed = |error: String| Event::StepFailed { subject: subject(&tenant), error };
    task.events.emit(match &outcome {
        Outcome::UpToDate => finished("up to date".to_owned()),
        Outcome::Applied { migrations } => finished(format!("applied {}", migrations.join(", "))),
        Outcome::Failed { error, .. } => failed(error.chain()),
        Outcome::Interrupted { state, .. } => failed(format!("interrupted; {state}")),
        Outcome::NotStarted { reason } => failed(format!("not started: {reason}")),
    });
    TenantReport { tenant, outcome, elapsed }
}

async fn attempts(task: &Task, target: &Target, mut kept: Option<Session>) -> Outcome {
    let mut progress = Progress::default();
    let mut attempt = 1;
    loop {
        let error = match Box::pin(once(task, target, kept.take(), &mut progress)).await {
            Ok(()) => return succeeded(progress.applied(&target.set.migrations)),
            Err(error) => error,
        };
        progress.fail(&error);
        let applied = progress.applied(&target.set.migrations);
        if let Error::Interrupted { state, .. } = error {
            return Outcome::Interrupted { applied, state };
        }
        let again = retry::reason(&error).filter(|_| !progress.is_half_done);
        let Some((reason, pause)) = again.zip(task.options.retry.pause_after(attempt)) else {
            return Outcome::Failed { applied, migration: failed_migration(&error), error };
        };
        attempt += 1;
        let status = format!(
            "{reason}; attempt {attempt} of {} in {:.1} s: {}",
            task.options.retry.attempts,
            pause.as_secs_f32(),
            error.chain()
        );
        task.events.emit(Event::StepWaiting { subject: subject(&target.login.database), status });
        tokio::select! {
            () = task.options.stop.raised() => {
                return Outcome::Interrupted { applied, state: "it was about to be tried again".to_owned() };
            }
            () = task.aside.wait(tokio::time::sleep(pause)) => {}
        }
    }
}

fn succeeded(migrations: Vec<String>) -> Outcome {
    if migrations.is_empty() { Outcome::UpToDate } else { Outcome::Applied { migrations } }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "only these are about one migration")]
fn failed_migration(error: &Error) -> Option<String> {
    match error {
        Error::Migration { migration, .. }
        | Error::Unfinished { migration, .. }
        | Error::InvalidIndex { migration, .. } => Some(migration.clone()),
        Error::Lost { migration, .. } => migration.clone(),
        _ => None,
    }
}

async fn once(
    task: &Task,
    target: &Target,
    kept: Option<Session>,
    progress: &mut Progress,
) -> Result<(), Error> {
    let Target { login, set, .. } = target;
    target.check_login()?;
    // One that waited for its wave for too long was ended by the server.
    let session = match kept.filter(|session| !session.client().is_closed()) {
        Some(session) => session,
        None => tokio::select! {
            () = task.options.stop.raised() => return Err(interrupted(&login.database, NOT_BEGUN)),
            session = task.aside.wait(connect(&task.server, login, &task.options.connect)) => session?,
        },
    };
    let result = apply(task, &session, &login.database, set, progress).await;
    // The lock goes with the session: giving it back would cost a round trip. Only the next attempt would still find it
    // held, by this one.
    if result.as_ref().is_err_and(|error| retry::reason(error).is_some()) {
        let sql = lock::MIGRATIONS.give_back_sql();
        drop(tokio::time::timeout(CANCEL_LIMIT, session.client().batch_execute(&sql)).await);
    }
    session.close().await;
    result
}

async fn apply(
    task: &Task,
    session: &Session,
    tenant: &str,
    set: &MigrationSet,
    progress: &mut Progress,
) -> Result<(), Error> {
    let (options, files) = (&task.options, &set.migrations);
    let wait = LockWait { limit: options.lock_limit, stop: &options.stop, events: &task.events };
    let mut locked =
        task.aside.wait(lock_and_read::lock_and_read(session, tenant, &set.table, &wait)).await?;
    let compared = plan::compare(tenant, &locked.history, files, options.late).accept()?;
    progress.look(&compared.pending);
    for segment in segment::cut(files, &compared.pending) {
        if options.stop.is_raised() {
            return Err(interrupted(tenant, "it stopped between two transactions"));
        }
        let table = &locked.table;
        match segment {
            Segment::Transaction(group) => {
                progress.in_doubt.clone_from(&group);
                let work = engine::commit(session, tenant, table, files, (Work::Apply, &group));
                within_grace(task, session, tenant, work, rolled_back(tenant)).await?;
            }
            Segment::NoTransaction(at) => {
                progress.is_half_done = true;
                progress.in_doubt = vec![at];
                let work = no_transaction::run(session, tenant, table, files, at);
                // What it did before it was cancelled stays, so that it is told, and nobody begins it again by itself.
                within_grace(task, session, tenant, work, identity).await?;
                progress.is_half_done = false;
            }
        }
        progress.commit();
        locked.table.exists = true;
    }
    Ok(())
}

/// Lets the work come to its end; after a wish to stop only for a while, then it is cancelled.
///
/// All of it is with the server already, COMMIT included: hanging up would leave open how it ended. `cancelled` gets the
/// error of work that was cancelled here, and of no other: a timeout or somebody else's cancellation looks the same.
async fn within_grace(
    task: &Task,
    session: &Session,
    tenant: &str,
    work: impl Future<Output = Result<(), Error>>,
    cancelled: impl FnOnce(Error) -> Error,
) -> Result<(), Error> {
    let canceller = session.canceller(&task.server);
    let grace_is_over = async {
        task.options.stop.raised().await;
        tokio::time::sleep(task.options.grace).await;
    };
    pin_mut!(work);
    tokio::select! {
        biased;
        result = &mut work => return result,
        () = grace_is_over => {}
    }
    let cancel = async {
        loop {
            canceller.cancel(CANCEL_LIMIT).await;
            tokio::time::sleep(CANCEL_AGAIN).await;
        }
    };
    tokio::select! {
        biased;
        result = work => result.map_err(cancelled),
        () = async { drop(tokio::time::timeout(CANCEL_LIMIT, cancel).await) } => {
            Err(interrupted(tenant, "the server did not say how it ended; the next run will see"))
        }
    }
}

/// Returns what makes of a transaction that was cancelled here one that is rolled back, which is what was wanted of it.
fn rolled_back(tenant: &str) -> impl Fn(Error) -> Error {
    const ROLLED_BACK: &str = "what was in flight is rolled back";
    move |error| match error.sqlstate() {
        Some("57014") => interrupted(tenant, ROLLED_BACK),
        // The file caught the cancellation, or it failed just then.
        Some(_) => interrupted(tenant, &format!("{ROLLED_BACK}, and ended with: {}", error.chain())),
        None => error,
    }
}

fn interrupted(tenant: &str, state: &str) -> Error {
    Error::Interrupted { tenant: tenant.to_owned(), state: state.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::Progress;
    use crate::Error;
    use crate::migration::parse;

    #[test]
    fn what_a_lost_connection_had_committed_counts_as_applied() {
        let files: Vec<_> = (0..3).map(|at| parse(&format!("V{at}__a.sql"), b"SELECT 1;").unwrap()).collect();
        let refused = Error::HistoryConflict { tenant: "t".to_owned() };
        let mut progress = Progress::default();
        progress.look(&[0, 1, 2]);
        progress.in_doubt = vec![0];
        progress.commit();
        // The connection broke while 1 was committed; the next look shows that it was.
        progress.in_doubt = vec![1];
        progress.look(&[2]);
        assert_eq!(progress.applied(&files), ["V0__a", "V1__a"]);
        // The server refused 2, and somebody else applied it.
        progress.in_doubt = vec![2];
        progress.fail(&refused);
        progress.look(&[]);
        assert_eq!(progress.applied(&files), ["V0__a", "V1__a"]);
    }
}
