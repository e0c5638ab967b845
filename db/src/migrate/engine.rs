use refinery::Runner;
use refinery::error::Kind;

use crate::{Error, Migration, Refusal, Session};

/// Where the engine stopped.
pub(super) struct Stopped {
    /// What was applied before, each committed with its row of history.
    pub(super) applied: Vec<String>,
    /// The migration that failed and was rolled back, if it came to that.
    pub(super) migration: Option<String>,
    pub(super) error: Error,
}

/// Applies what is pending: each migration in one transaction with its row of history. The session holds the lock.
///
/// A later engine that sends everything in one message takes this function's place; its callers know nothing of
/// refinery but the files, the checksums and the history.
pub(super) async fn apply(
    session: &mut Session,
    tenant: &str,
    migrations: &[Migration],
    pending: &[String],
) -> Result<Vec<String>, Stopped> {
    let files: Vec<refinery::Migration> =
        migrations.iter().map(|migration| migration.as_refinery().clone()).collect();
    // Without these two a changed or a late file is passed over, and the run says that all is well.
    let runner = Runner::new(&files).set_abort_divergent(true).set_abort_missing(true);
    match Box::pin(runner.run_async(session.client_mut())).await {
        Ok(report) => Ok(names(report.applied_migrations())),
        Err(error) => Err(stopped(tenant, migrations, pending, error)),
    }
}

fn stopped(tenant: &str, migrations: &[Migration], pending: &[String], error: refinery::Error) -> Stopped {
    let report = error.report().map(|report| names(report.applied_migrations()));
    // Only a failure of a migration itself comes with a report; the first one not in it is the one.
    let failed = report.as_ref().and_then(|applied| pending.get(applied.len())).cloned();
    let tenant = tenant.to_owned();
    // What else refinery could say about files and history was found before it was asked.
    let said = if let Kind::Connection(_, source) = error.kind() {
        source.downcast_ref().and_then(Refusal::find)
    } else {
        None
    };
    let error = match (&failed, said) {
        (Some(migration), Some(said)) => {
            let file = migrations.iter().find(|file| file.to_string() == *migration);
            let line = file.zip(said.position).map(|(file, position)| file.line_of(position));
            Error::Migration { tenant, migration: migration.clone(), line, source: said.into() }
        }
        (None, Some(said)) => Error::Statement { doing: format!("migrate `{tenant}`"), source: said.into() },
        (_, None) => Error::Refinery { tenant, source: Box::new(error) },
    };
    Stopped { applied: report.unwrap_or_default(), migration: failed, error }
}

fn names(applied: &[refinery::Migration]) -> Vec<String> {
    applied.iter().map(ToString::to_string).collect()
}
