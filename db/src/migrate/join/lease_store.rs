//! The table in the admin's database that gives out leases of tenants. Every change is one statement, uses the server's
//! clock, and can be sent again if its answer is lost.

use std::fmt;
use std::time::Duration;

use serde_json::json;
use stack::spec::OnError;
use stack::{Event, Events};
use tokio::time::timeout;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::super::options::RunOptions;
use super::super::outcome::{Outcome, SkipReason, TenantReport};
use super::super::plan::OutOfOrder;
use super::super::target::Target;
use super::super::{Retry, retry};
use super::stored::{Entry, Stored};
use super::{Joined, RunName, run_spec, sql};
use crate::{ConnectOptions, Error, Kind, Login, Server, Session, connect, lock};

/// How long the admin's database may take to answer before its connection counts as lost.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// A minute, about, in which a tunnel or a server comes back.
const PATIENCE: Retry = Retry { attempts: 10, first_pause: Duration::from_millis(250) };

/// A tenant that this runner has leased.
pub(super) struct Taken {
    pub(super) tenant: String,
    pub(super) attempts: i32,
    pub(super) wave: i32,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counts {
    todo: i64,
    taken: i64,
    failed: i64,
    all: i64,
}

impl Counts {
    pub(super) fn is_over(self) -> bool {
        self.todo + self.taken == 0
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { todo, taken, failed, all } = self;
        write!(
            f,
            "{} of {all} tenants ended, {failed} failed; {taken} with other runners",
            all - todo - taken
        )
    }
}

/// The table, as one runner uses it.
pub(super) struct LeaseStore<'a> {
    server: &'a Server,
    admin: &'a Login,
    run: &'a RunName,
    runner: &'a str,
    lease: f64,
    tries: i32,
    events: &'a Events,
    session: Option<Session>,
}

impl<'a> LeaseStore<'a> {
    pub(super) fn new(
        server: &'a Server,
        admin: &'a Login,
        run: &'a RunName,
        runner: &'a str,
        (lease, tries): (Duration, u32),
        events: &'a Events,
    ) -> LeaseStore<'a> {
        let (lease, tries) = (lease.as_secs_f64(), i32::try_from(tries).unwrap_or(i32::MAX));
        LeaseStore { server, admin, run, runner, lease, tries, events, session: None }
    }

    pub(super) fn subject(&self) -> String {
        format!("run {}", self.run)
    }

    pub(super) async fn close(self) {
        if let Some(session) = self.session {
            session.close().await;
        }
    }

    /// Begins the run, or sees that it was begun with the same.
    pub(super) async fn register(&mut self, targets: &[Target], options: &RunOptions) -> Result<(), Error> {
        let there = self.query(sql::IS_THERE, &[], "look for the table of runs").await?;
        let (is_there, foreign): (bool, Option<String>) =
            there.first().map_or((false, None), |row| (row.get(0), row.get(1)));
        if let Some(owner) = foreign {
            return Err(self.refuse(format!(
                "the schema `drawbridge` of `postgres`, or a table in it, belongs to `{owner}`, whose triggers would run \
                 as the master; drop it as a superuser, or as that role"
            )));
        }
        if !is_there {
            let mut attempt = 1;
            while let Err(error) = self.create().await {
                self.pause(error, &mut attempt).await?;
            }
        }
        self.query(sql::FORGET, &[], "forget old runs").await?;
        let rows = run_spec::rows(targets, options);
        let (run, runner) = (self.run.as_str(), self.runner);
        let fingerprint = run_spec::fingerprint(targets);
        let budget = i64::try_from(options.error_budget).unwrap_or(i64::MAX);
        let on_error = match options.on_error {
            OnError::Continue => "continue",
            OnError::Stop => "stop",
        };
        let is_late = options.late == OutOfOrder::Apply;
        let values: [(&(dyn ToSql + Sync), Type); 7] = [
            (&run, Type::TEXT),
            (&runner, Type::TEXT),
            (&fingerprint, Type::TEXT),
            (&budget, Type::INT8),
            (&on_error, Type::TEXT),
            (&is_late, Type::BOOL),
            (&rows, Type::TEXT),
        ];
        self.query(sql::BEGIN, &values, "begin the run").await?;
        let values: [(&(dyn ToSql + Sync), Type); 5] = [
            (&run, Type::TEXT),
            (&fingerprint, Type::TEXT),
            (&budget, Type::INT8),
            (&on_error, Type::TEXT),
            (&is_late, Type::BOOL),
        ];
        let begun = self.query(sql::COMPARE, &values, "compare with how the run was begun").await?;
        let begun = begun.first().ok_or_else(|| self.refuse("it is gone"))?;
        let (by, at): (String, String) = (begun.get(0), begun.get(1));
        let other = |what: &str| {
            self.refuse(format!("`{by}` began it at {at} with other {what}; give yours another name"))
        };
        if !begun.get::<_, bool>(2) {
            return Err(other("migrations"));
        }
        if !begun.get::<_, bool>(3) {
            return Err(other("values of `--error-budget`, `--on-error` or `--out-of-order`"));
        }
        let tenants = self.query(sql::TENANTS, &[(&run, Type::TEXT)], "read the run's tenants").await?;
        let tenants: Vec<(String, String)> = tenants.iter().map(|row| (row.get(0), row.get(1))).collect();
        self.compare(targets, &tenants)
    }

    async fn create(&mut self) -> Result<(), Error> {
        let options = ConnectOptions { statement_timeout: Some(ANSWER_LIMIT), ..ConnectOptions::default() };
        let session = Box::pin(connect(self.server, self.admin, &options)).await?;
        // The lock ends with the session. One message and one transaction: whoever dies in it, it ends.
        let created = async {
            lock::acquire(&session, lock::RUNS, &self.subject(), ANSWER_LIMIT, self.events).await?;
            session.execute(sql::CREATE, || "create the table of runs".to_owned()).await
        };
        let created = created.await;
        session.close().await;
        created
    }

    /// A runner must be able to migrate whatever it is given.
    fn compare(&self, targets: &[Target], tenants: &[(String, String)]) -> Result<(), Error> {
        for (tenant, set) in tenants {
            match targets.iter().find(|target| target.login.database == *tenant) {
                None => {
                    return Err(self
                        .refuse(format!("its tenant `{tenant}` is not among yours; join with all of them")));
                }
                Some(target) if run_spec::set_name(target) != set => {
                    return Err(
                        self.refuse(format!("its tenant `{tenant}` has another set of migrations there"))
                    );
                }
                Some(_) => {}
            }
        }
        let is_in = |target: &&Target| tenants.iter().any(|(tenant, _)| *tenant == target.login.database);
        for target in targets.iter().filter(|target| !is_in(target)) {
            self.events.warn(format!(
                "tenant `{}` was not there when run `{}` was begun, and is not migrated by it",
                target.login.database, self.run
            ));
        }
        Ok(())
    }

    fn refuse(&self, reason: impl Into<String>) -> Error {
        Error::Run { run: self.run.to_string(), reason: reason.into() }
    }

    /// Takes up to so many tenants; `in_flight` are those that are being migrated here.
    pub(super) async fn take(&mut self, room: usize, in_flight: &[String]) -> Result<Vec<Taken>, Error> {
        let (run, runner, lease, tries) = (self.run.as_str(), self.runner, self.lease, self.tries);
        let room = i64::try_from(room).unwrap_or(i64::MAX);
        let values: [(&(dyn ToSql + Sync), Type); 6] = [
            (&run, Type::TEXT),
            (&runner, Type::TEXT),
            (&lease, Type::FLOAT8),
            (&room, Type::INT8),
            (&in_flight, Type::TEXT_ARRAY),
            (&tries, Type::INT4),
        ];
        let rows = self.query(&sql::take(), &values, "take tenants").await?;
        Ok(rows
            .iter()
            .map(|row| Taken { tenant: row.get(0), attempts: row.get(1), wave: row.get(2) })
            .collect())
    }

    /// Lets the tenants fail that were taken often enough, with the last reason.
    pub(super) async fn give_up(&mut self) -> Result<(), Error> {
        let (run, tries) = (self.run.as_str(), self.tries);
        let values: [(&(dyn ToSql + Sync), Type); 2] = [(&run, Type::TEXT), (&tries, Type::INT4)];
        for row in self.query(sql::GIVE_UP, &values, "give tenants up").await? {
            let (tenant, why): (String, String) = (row.get(0), row.get(1));
            self.events.warn(format!("tenant `{tenant}` is given up: {why}"));
        }
        Ok(())
    }

    /// Holds back whoever must not begin any more.
    pub(super) async fn hold(&mut self) -> Result<(), Error> {
        let report = json!(Stored::withheld(SkipReason::ErrorBudget)).to_string();
        let run = self.run.as_str();
        let values: [(&(dyn ToSql + Sync), Type); 2] = [(&run, Type::TEXT), (&report, Type::TEXT)];
        self.query(&sql::hold(), &values, "hold tenants back").await.map(drop)
    }

    pub(super) async fn count(&mut self) -> Result<Counts, Error> {
        let run = self.run.as_str();
        let rows = self.query(sql::COUNT, &[(&run, Type::TEXT)], "see how far the run is").await?;
        match rows.first() {
            Some(row) if row.get::<_, i64>(3) > 0 => {
                Ok(Counts { todo: row.get(0), taken: row.get(1), failed: row.get(2), all: row.get(3) })
            }
            Some(_) | None => Err(self.refuse("it is gone")),
        }
    }

    /// Renews the leases of these tenants, and returns those that are still this runner's.
    pub(super) async fn renew(&mut self, tenants: &[String]) -> Result<Vec<String>, Error> {
        let (run, runner, lease) = (self.run.as_str(), self.runner, self.lease);
        let values: [(&(dyn ToSql + Sync), Type); 4] =
            [(&run, Type::TEXT), (&runner, Type::TEXT), (&lease, Type::FLOAT8), (&tenants, Type::TEXT_ARRAY)];
        let rows = self.query(sql::RENEW, &values, "renew leases").await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Records what became of tenants, and returns those that were still this runner's.
    pub(super) async fn record(
        &mut self,
        entries: impl Iterator<Item = &Entry>,
    ) -> Result<Vec<String>, Error> {
        let (run, runner) = (self.run.as_str(), self.runner);
        let entries = json!(entries.collect::<Vec<_>>()).to_string();
        let values: [(&(dyn ToSql + Sync), Type); 3] =
            [(&run, Type::TEXT), (&runner, Type::TEXT), (&entries, Type::TEXT)];
        let rows = self.query(sql::RECORD, &values, "record what was done").await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Returns what became of the run so far.
    pub(super) async fn report(&mut self, me: &str) -> Result<Joined, Error> {
        let run = self.run.as_str();
        let rows = self.query(sql::REPORT, &[(&run, Type::TEXT)], "read the run's report").await?;
        let elapsed = rows.first().and_then(|row| row.get::<_, Option<f64>>(4)).unwrap_or_default();
        let mut joined = Joined {
            reports: Vec::new(),
            runners: Vec::new(),
            elapsed: Duration::from_secs_f64(elapsed.max(0.0)),
        };
        for row in &rows {
            let runner: Option<String> = row.get(2);
            joined.reports.push(self.read(row, runner.as_deref() == Some(me))?);
            joined.runners.push(runner);
        }
        Ok(joined)
    }

    fn read(&self, row: &Row, is_mine: bool) -> Result<TenantReport, Error> {
        let (tenant, state): (String, String) = (row.get(0), row.get(1));
        let withheld = |reason, tenant| Ok(Stored::withheld(reason).report(tenant));
        if state == "taken" {
            return withheld(SkipReason::Elsewhere, tenant);
        }
        let Some(text) = row.get::<_, Option<String>>(3) else {
            return withheld(SkipReason::Interrupted, tenant);
        };
        let stored: Stored = serde_json::from_str(&text).map_err(|error| {
            self.refuse(format!("the report of its tenant `{tenant}` cannot be read: {error}"))
        })?;
        let report = stored.report(tenant);
        // What another runner gave back is not this one's interruption.
        match (&report.outcome, is_mine) {
            (Outcome::Interrupted { .. }, false) => withheld(SkipReason::Interrupted, report.tenant),
            _ => Ok(report),
        }
    }

    /// Runs a statement that may be run again, over a new connection if the one that is there is lost.
    async fn query(
        &mut self,
        sql: &str,
        values: &[(&(dyn ToSql + Sync), Type)],
        doing: &str,
    ) -> Result<Vec<Row>, Error> {
        let mut attempt = 1;
        loop {
            let error = match Box::pin(self.once(sql, values, doing)).await {
                Ok(rows) => return Ok(rows),
                Err(error) => error,
            };
            self.pause(error, &mut attempt).await?;
        }
    }

    /// Waits before the next attempt, if there is to be one.
    async fn pause(&self, error: Error, attempt: &mut u32) -> Result<(), Error> {
        let passes = error.kind() == Kind::Unreachable || retry::reason(&error).is_some();
        let Some(pause) = PATIENCE.pause_after(*attempt).filter(|_| passes) else { return Err(error) };
        *attempt += 1;
        let status = format!(
            "attempt {attempt} of {} in {:.1} s: {}",
            PATIENCE.attempts,
            pause.as_secs_f32(),
            error.chain()
        );
        self.events.emit(Event::StepWaiting { subject: self.subject(), status });
        tokio::time::sleep(pause).await;
        Ok(())
    }

    async fn once(
        &mut self,
        sql: &str,
        values: &[(&(dyn ToSql + Sync), Type)],
        doing: &str,
    ) -> Result<Vec<Row>, Error> {
        let session = match self.session.take() {
            Some(session) => session,
            None => {
                let options =
                    ConnectOptions { statement_timeout: Some(ANSWER_LIMIT), ..ConnectOptions::default() };
                connect(self.server, self.admin, &options).await?
            }
        };
        let silent = |_| Err(Error::TimedOut { host: self.server.host.clone(), limit: ANSWER_LIMIT });
        let answer =
            timeout(ANSWER_LIMIT * 2, session.query(sql, values, doing)).await.unwrap_or_else(silent);
        // After an error of its own making a session is as good as new.
        if answer.as_ref().map_or_else(|error| error.kind() != Kind::Unreachable, |_| true) {
            self.session = Some(session);
        }
        answer
    }
}
