//! The first round trip: the lock, and what is there once it is ours.

use std::time::Duration;

use futures_util::future::{join, join3};
use stack::{Event, Events};
use tokio::time::Instant;
use tokio_postgres::Row as SqlRow;

use super::Stop;
use super::history::{self, Row, Table};
use crate::lock::{self, FIRST_PAUSE, Holder, LONGEST_PAUSE, Lock};
use crate::quote::{ident, literal};
use crate::{Error, Session};

/// A tenant whose lock is ours, as it is.
pub(super) struct Entered {
    pub(super) history: Vec<Row>,
    pub(super) table: Table,
}

/// How long to ask for the lock, and who is told meanwhile.
pub(super) struct Patience<'a> {
    pub(super) limit: Duration,
    pub(super) stop: &'a Stop,
    pub(super) events: &'a Events,
}

const LOCK: Lock = lock::MIGRATIONS;

/// Returns a query for where the history is, where it would be made, and whether this role may.
///
/// Functions alone: a new backend has yet to learn what a join over the catalogs is, for most of a millisecond.
fn place(table: &str) -> String {
    let table = literal(&ident(table));
    format!(
        "SELECT current_user::text, current_schema()::text,
           coalesce(has_schema_privilege(current_schema(), 'CREATE'), false),
           (parse_ident((pg_identify_object('pg_class'::regclass, to_regclass({table}), 0)).schema))[1],
           coalesce(has_table_privilege(to_regclass({table}), 'INSERT'), false)"
    )
}

/// Takes the lock and reads the history in one round trip; asks again while somebody else holds the lock.
///
/// The server answers in order: a history that comes with the lock was read when the lock was ours. One that comes
/// without it is stale and thrown away.
///
/// # Errors
/// [`Error::Locked`] names who still holds it; [`Error::Forbidden`] if the role could not record anything.
pub(super) async fn enter(
    session: &Session,
    tenant: &str,
    table: &str,
    patience: &Patience<'_>,
) -> Result<Entered, Error> {
    let start = Instant::now();
    let mut pause = FIRST_PAUSE;
    let mut told: Option<Holder> = None;
    let (take, where_it_is, read) = (LOCK.try_sql(), place(table), history::read(table));
    loop {
        let client = session.client();
        let ((lock, place, rows), holder) = join(
            join3(
                client.query_typed(&take, &[]),
                client.query_typed(&where_it_is, &[]),
                client.query_typed(&read, &[]),
            ),
            find_holder(session, start.elapsed()),
        )
        .await;
        let locked = lock.map_err(|error| failed("ask for the lock", error))?;
        if locked.first().is_some_and(|row| row.get(0)) {
            let place = place.map_err(|error| failed("look for the history", error))?;
            let place = parse_place(tenant, table, &place)?;
            return Ok(Entered { history: history::parse(table, rows)?, table: place });
        }
        let holder = holder?;
        if start.elapsed() >= patience.limit {
            let holder = match holder {
                Some(holder) => Some(holder),
                None => lock::find_holder(session, LOCK).await?,
            };
            let holder = holder.map_or_else(|| "another session".to_owned(), |holder| holder.to_string());
            return Err(Error::Locked { lock: LOCK.name, holder, waited: start.elapsed() });
        }
        if let Some(holder) = holder.filter(|holder| !told.as_ref().is_some_and(|told| holder.is_same(told)))
        {
            let status = format!("the lock for {} is held by {holder}", LOCK.name);
            patience.events.emit(Event::StepWaiting { subject: super::subject(tenant), status });
            told = Some(holder);
        }
        tokio::select! {
            () = patience.stop.raised() => {
                return Err(Error::Interrupted { tenant: tenant.to_owned(), state: "nothing was begun" });
            }
            () = tokio::time::sleep(pause.min(patience.limit.saturating_sub(start.elapsed()))) => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Reads the history in one round trip, without the lock: it may be stale in the next moment.
pub(super) async fn look(session: &Session, table: &str) -> Result<Vec<Row>, Error> {
    history::parse(table, session.client().query_typed(&history::read(table), &[]).await)
}

/// Reads the history and checks the rights to record in one round trip, without the lock.
pub(super) async fn inspect(session: &Session, tenant: &str, table: &str) -> Result<Vec<Row>, Error> {
    let client = session.client();
    let (place, read) = (place(table), history::read(table));
    let (place, rows) = join(client.query_typed(&place, &[]), client.query_typed(&read, &[])).await;
    parse_place(tenant, table, &place.map_err(|error| failed("look for the history", error))?)?;
    history::parse(table, rows)
}

/// Who holds the lock is asked for from the second time on: the first time, hardly anybody does.
async fn find_holder(session: &Session, waited: Duration) -> Result<Option<Holder>, Error> {
    if waited < FIRST_PAUSE {
        return Ok(None);
    }
    lock::find_holder(session, LOCK).await
}

fn failed(doing: &str, error: tokio_postgres::Error) -> Error {
    Error::Statement { doing: doing.to_owned(), source: error.into() }
}

fn parse_place(tenant: &str, table: &str, rows: &[SqlRow]) -> Result<Table, Error> {
    let row = rows.first().ok_or_else(|| Error::History {
        table: table.to_owned(),
        reason: "the server did not say where it is".to_owned(),
    })?;
    let (role, here): (String, Option<String>) = (row.get(0), row.get(1));
    let forbid = |reason: String| Error::Forbidden { tenant: tenant.to_owned(), role: role.clone(), reason };
    let grant = |what: &str, on: String| {
        format!(
            "it lacks {what} on {on}; run `GRANT {what} ON {on} TO {}` as the owner",
            ident_if_needed(&role)
        )
    };
    if let Some(schema) = row.get::<_, Option<String>>(3) {
        return match row.get(4) {
            true => Ok(Table::new(schema, table, true)),
            false => Err(forbid(grant(
                "INSERT",
                format!("TABLE {}.{}", ident_if_needed(&schema), ident_if_needed(table)),
            ))),
        };
    }
    let Some(schema) = here else {
        return Err(forbid("its `search_path` names no schema that is there".to_owned()));
    };
    match row.get(2) {
        true => Ok(Table::new(schema, table, false)),
        false => Err(forbid(grant("CREATE", format!("SCHEMA {}", ident_if_needed(&schema))))),
    }
}

/// Returns the name as people would type it.
fn ident_if_needed(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    match name.chars().all(is_plain) && !name.starts_with(|c: char| c.is_ascii_digit()) {
        true => name.to_owned(),
        false => ident(name),
    }
}
