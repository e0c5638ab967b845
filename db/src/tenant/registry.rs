//! Tenants that a query lists: a registry that an application keeps in the database `postgres`.

use std::time::Duration;

use futures_util::TryStreamExt;
use stack::config::{FIELDS, Fault, Record, tenants};
use stack::spec::Tenant;
use tokio_postgres::types::{FromSql, ToSql};
use tokio_postgres::{Row, Statement};

use crate::limit;
use crate::{ConnectOptions, Error, Login, Server, Session, connect};

/// How long the query may take, and how long it may wait for a lock.
const LIMIT: Duration = Duration::from_secs(30);
/// More rows than anybody has databases on one server: a join that went wrong.
const ROWS: usize = 100_000;
/// More than so many rows of names and purposes are: 640 bytes each. A value may be a gigabyte, which would all be in memory.
const BYTES: usize = 64 << 20;

/// Returns the tenants that a query lists, as `admin`, in the database of its login; `known` are those of other
/// sources.
///
/// The query's columns are named as the fields of a tenant and hold text; a null is a value left out. It runs alone, in
/// one transaction that may only read, for 30 seconds at most; of its answer no more than 64 MiB are taken. `search_path` leads
/// to the server's own objects alone, so that the query names its tables with their schema.
///
/// # Errors
/// [`Error::Registry`] names the row, counted from 1, and the field that is wrong; [`Error::Statement`] if the query
/// fails.
pub async fn query(
    server: &Server,
    admin: &Login,
    sql: &str,
    known: &[Tenant],
) -> Result<Vec<Tenant>, Error> {
    let options = ConnectOptions {
        lock_timeout: Some(LIMIT),
        statement_timeout: Some(LIMIT),
        ..ConnectOptions::default()
    };
    let session = connect(server, admin, &options).await?;
    let records = read(&session, sql).await;
    session.close().await;
    tenants(&records?, known, &admin.user).map_err(|fault| {
        let Fault { record, field, message, .. } = fault;
        Error::Registry { row: Some(record + 1), field: Some(field.to_owned()), reason: message }
    })
}

async fn read(session: &Session, sql: &str) -> Result<Vec<Record>, Error> {
    session
        .execute("BEGIN TRANSACTION READ ONLY", || "begin a transaction that only reads".to_owned())
        .await?;
    let failed = |source: tokio_postgres::Error| match source.is_closed() {
        true => refuse(
            None,
            format!(
                "the connection ended before its answer did, as a message of more than {} MiB ends it",
                limit::LONGEST >> 20
            ),
        ),
        false => Error::Statement {
            doing: "run the query that lists the tenants".to_owned(),
            source: source.into(),
        },
    };
    // Prepared alone: the server refuses a second statement behind it.
    let statement = session.client().prepare(sql).await.map_err(failed)?;
    let columns = columns(&statement)?;
    let none: [&(dyn ToSql + Sync); 0] = [];
    let rows = session.client().query_raw(&statement, none).await.map_err(failed)?;
    let mut rows = std::pin::pin!(rows);
    let (mut records, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.try_next().await.map_err(failed)? {
        if records.len() == ROWS {
            return Err(refuse(None, format!("it has more than {ROWS} rows")));
        }
        bytes += row.raw_size_bytes();
        if bytes > BYTES {
            return Err(refuse(None, format!("its answer is longer than {} MiB", BYTES >> 20)));
        }
        records.push(record(&row, &columns, records.len() + 1)?);
    }
    Ok(records)
}

/// Returns the fields that the columns are, in the query's order.
fn columns(statement: &Statement) -> Result<Vec<&'static str>, Error> {
    let mut columns = Vec::new();
    for column in statement.columns() {
        let name = column.name();
        let field = FIELDS.into_iter().find(|field| *field == name);
        let field = field.ok_or_else(|| {
            refuse(Some(name), format!("there is no such column; there are {}", FIELDS.join(", ")))
        })?;
        if columns.contains(&field) {
            return Err(refuse(Some(name), "it is there twice".to_owned()));
        }
        if !<&str as FromSql<'_>>::accepts(column.type_()) {
            let reason = format!("it is of type `{}`; cast it with `::text`", column.type_());
            return Err(refuse(Some(name), reason));
        }
        columns.push(field);
    }
    if !columns.contains(&"name") {
        return Err(refuse(Some("name"), "the query returns no such column".to_owned()));
    }
    Ok(columns)
}

fn record(row: &Row, columns: &[&'static str], number: usize) -> Result<Record, Error> {
    let mut record = Record::default();
    for (place, field) in columns.iter().enumerate() {
        let text: Option<&str> = row.try_get(place).map_err(|error| Error::Registry {
            row: Some(number),
            field: Some((*field).to_owned()),
            reason: error.to_string(),
        })?;
        record.set(field, text.unwrap_or_default());
    }
    Ok(record)
}

fn refuse(field: Option<&str>, reason: String) -> Error {
    Error::Registry { row: None, field: field.map(shown), reason }
}

/// Returns a column's name so that it fits a line of a terminal.
fn shown(name: &str) -> String {
    name.chars().take(60).flat_map(char::escape_debug).collect()
}
