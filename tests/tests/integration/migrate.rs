//! The migration engine on a real PostgreSQL 16 behind TLS.

#![expect(clippy::unwrap_used, reason = "a test that cannot prepare itself has failed")]

mod alone;
mod boundary;
mod disk;
mod engine;
mod fleet;
mod history;
pub(crate) mod join;
mod kill;
mod outcome;
mod place;
pub(crate) mod program;
mod psql;
mod repair;
mod runners;
mod set;
mod trouble;
mod versions;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use db::migrate::{self, Outcome, Retry, RunOptions, TenantReport};
use db::{Error, Login, Migration, Session};
use stack::{Event, Events};

use crate::db::{Database, file, spec, until_count};

const HISTORY: &str = "SELECT version || ' ' || name FROM refinery_schema_history ORDER BY version";
const TABLES: &str = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' ORDER BY 1";

/// Returns `V1__t1.sql` .. that make a table each.
fn tables(count: usize) -> Vec<Migration> {
    (1..=count).map(|n| file(&format!("V{n}__t{n}.sql"), &format!("CREATE TABLE t{n} (id int);\n"))).collect()
}

fn applied(report: &TenantReport) -> &[String] {
    match &report.outcome {
        Outcome::Applied { migrations } => migrations,
        Outcome::UpToDate
        | Outcome::Failed { .. }
        | Outcome::Interrupted { .. }
        | Outcome::NotStarted { .. } => {
            panic!("not applied: {report:?}")
        }
    }
}

fn failure(report: &TenantReport) -> (&[String], Option<&str>, &Error) {
    match &report.outcome {
        Outcome::Failed { applied, migration, error } => (applied, migration.as_deref(), error),
        Outcome::UpToDate
        | Outcome::Applied { .. }
        | Outcome::Interrupted { .. }
        | Outcome::NotStarted { .. } => {
            panic!("not failed: {report:?}")
        }
    }
}

/// Collects what steps wait for.
fn waits() -> (Events, Arc<Mutex<Vec<String>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&told);
    let events = Events::new(move |event| {
        if let Event::StepWaiting { status, .. } = event {
            sink.lock().unwrap().push(status);
        }
    });
    (events, told)
}

impl Database {
    async fn migrate_with(
        &self,
        names: &[&str],
        migrations: &[Migration],
        options: &RunOptions,
    ) -> Vec<TenantReport> {
        let logins: Vec<Login> = names.iter().map(|name| spec(name).login()).collect();
        migrate::run(&self.server, &logins, migrations, options, &Events::none()).await
    }

    async fn as_owner(&self, name: &str, sql: &str) {
        let session = self.connect(&spec(name).login()).await;
        session.client().batch_execute(sql).await.unwrap();
        session.close().await;
    }

    /// Returns a session of the tenant's own that holds a lock in its database until it is closed.
    async fn hold(&self, name: &str, sql: &str) -> Session {
        let session = self.connect(&spec(name).login()).await;
        session.client().batch_execute(sql).await.unwrap();
        session
    }

    /// Waits until so many sessions in the tenant's database wait for a lock.
    async fn wait_until_blocked(&self, name: &str, sessions: i64) {
        let session = self.connect(&spec(name).login()).await;
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                   AND wait_event_type = 'Lock'";
        until_count(&session, sql, |count| count == sessions).await;
        session.close().await;
    }
}

/// Returns options that try again at once, so often.
fn trying(attempts: u32) -> RunOptions {
    let retry = Retry { attempts, first_pause: Duration::from_millis(1) };
    RunOptions { retry, ..RunOptions::default() }
}

/// What waits until somebody lets go of lock 7 of the database.
const WAITING: &str = "CREATE TABLE half (id int);\nSELECT pg_advisory_xact_lock(7);\n";
const HOLDING: &str = "SELECT pg_advisory_lock(7)";
