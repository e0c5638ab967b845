//! The second round trip: everything that is committed together, sent without waiting for an answer.

use futures_util::{StreamExt, pin_mut};
use tokio_postgres::{SimpleQueryMessage, SimpleQueryStream};

use super::history::Table;
use super::message::{Message, Part, Place, Sharing, Work, compose};
use crate::lock::{self, NOT_HELD};
use crate::{Cause, Error, Migration, Session};

/// Applies or records these files in one transaction with their rows of history, in one round trip.
///
/// # Errors
/// [`Error::Migration`] names the file and its line: the server has answered that nothing of it stays.
/// [`Error::Lost`] if the connection broke before that was certain.
/// [`Error::LockLost`] before the first statement if the lock is not held by the very backend that is to write.
pub(super) async fn commit(
    session: &Session,
    tenant: &str,
    table: &Table,
    migrations: &[Migration],
    (work, group): (Work, &[usize]),
) -> Result<(), Error> {
    let sharing = if session.reads_quotations_as_standard() { Sharing::Together } else { Sharing::Alone };
    let messages = compose(table, migrations, (work, group), sharing);
    let mut sent = Vec::with_capacity(messages.len());
    for message in &messages {
        // Returns as soon as it is queued: the order is this loop's, and nothing is waited for.
        let answer = session.client().simple_query_raw(&message.sql).await;
        sent.push((
            message,
            answer.map_err(|error| lost(tenant, migrations, message.first(), error.into()))?,
        ));
    }
    let mut first = None;
    let mut recorded = None;
    for (message, answer) in sent {
        match drain(message, answer).await {
            Ok(value) => recorded = value,
            Err((place, cause)) => {
                let is_answer = cause.refusal().is_some();
                // After the first, all say 25P02, and COMMIT is answered ROLLBACK: read, so as to know it is over.
                first.get_or_insert_with(|| (place.part, failed(tenant, migrations, place, cause)));
                if !is_answer {
                    break;
                }
            }
        }
    }
    // A cancellation that came too late to stop the transaction has hit the question.
    if let Some((Part::Proof, error)) = first {
        return prove(session, tenant, table, migrations, group).await.map_err(|_| error);
    }
    match first {
        Some((_, error)) => Err(error),
        // A COMMIT that rolls back is no error to the server, so the history itself is asked.
        None if recorded.as_deref() == Some(group.len().to_string().as_str()) => Ok(()),
        None => Err(Error::NotRecorded { tenant: tenant.to_owned() }),
    }
}

/// Asks once more whether these are recorded.
async fn prove(
    session: &Session,
    tenant: &str,
    table: &Table,
    migrations: &[Migration],
    group: &[usize],
) -> Result<(), Error> {
    let sql = table.count(group.iter().map(|&at| &migrations[at]));
    let rows = session.query(&sql, &[], "see what is recorded").await?;
    let recorded = rows.first().map_or(0, |row| row.get::<_, i64>(0));
    if usize::try_from(recorded) == Ok(group.len()) {
        return Ok(());
    }
    Err(Error::NotRecorded { tenant: tenant.to_owned() })
}

/// Carries out statements of our own in one transaction, if the lock is held.
pub(super) async fn write(
    session: &Session,
    tenant: &str,
    statements: impl Iterator<Item = String>,
) -> Result<(), Error> {
    let all = ["BEGIN".to_owned(), lock::MIGRATIONS.guard()].into_iter().chain(statements);
    let sql = all.chain(["COMMIT".to_owned()]).collect::<Vec<_>>().join("; ");
    session.client().batch_execute(&sql).await.map_err(|error| match error.code() {
        Some(code) if code.code() == NOT_HELD => Error::LockLost { lock: lock::MIGRATIONS.name },
        Some(_) | None => {
            Error::Statement { doing: format!("write the history of `{tenant}`"), source: error.into() }
        }
    })
}

/// Reads an answer to its end, and returns the proof if it holds that.
async fn drain(message: &Message, answer: SimpleQueryStream) -> Result<Option<String>, (Place, Cause)> {
    pin_mut!(answer);
    let mut reader = message.reader();
    let mut proof = None;
    while let Some(answered) = answer.next().await {
        match answered {
            Ok(SimpleQueryMessage::CommandComplete(_)) => reader.complete(),
            Ok(SimpleQueryMessage::RowDescription(columns)) => {
                reader.describe(columns.iter().map(|column| column.name()));
            }
            Ok(SimpleQueryMessage::Row(row)) if reader.part() == Part::Proof => {
                proof = row.try_get(0).ok().flatten().map(str::to_owned);
            }
            // Rows of a file's own, and whatever may come to be.
            Ok(_) => {}
            Err(error) => {
                let mut cause = Cause::from(error);
                let place = reader.place(cause.refusal().and_then(|refusal| refusal.position));
                if let Cause::Refused(refusal) = &mut cause {
                    // The reader of a report has the file, and not the message.
                    refusal.position = place.position;
                }
                return Err((place, cause));
            }
        }
    }
    Ok(proof)
}

/// Returns the error of a connection that broke, or of an answer without which it is as open.
fn lost(tenant: &str, migrations: &[Migration], part: Part, cause: Cause) -> Error {
    let migration = match part {
        Part::File(at) | Part::Row(at) => Some(migrations[at].to_string()),
        Part::Open | Part::Commit | Part::Proof => None,
    };
    Error::Lost { tenant: tenant.to_owned(), migration, source: cause }
}

fn failed(tenant: &str, migrations: &[Migration], place: Place, cause: Cause) -> Error {
    // Without the server's word, or once it has said that all is committed, how it ended is as open.
    let Some(refusal) = cause.refusal().filter(|_| place.part != Part::Proof) else {
        return lost(tenant, migrations, place.part, cause);
    };
    let sqlstate = refusal.sqlstate.as_str();
    let doing = match place.part {
        Part::File(at) => {
            let line = line(&migrations[at], place);
            let migration = migrations[at].to_string();
            return Error::Migration { tenant: tenant.to_owned(), migration, line, source: cause };
        }
        // The second statement is the guard: what comes after it may call a trigger of somebody else's making.
        Part::Open if sqlstate == NOT_HELD && place.done == 1 => {
            return Error::LockLost { lock: lock::MIGRATIONS.name };
        }
        // Plain refinery takes no lock: its row, or its table, was there first.
        Part::Open | Part::Row(_) if matches!(sqlstate, "23505" | "42P07") => {
            return Error::HistoryConflict { tenant: tenant.to_owned() };
        }
        Part::Open => format!("begin to migrate `{tenant}`"),
        Part::Row(at) => format!("record `{}` of tenant `{tenant}`", migrations[at]),
        // What PostgreSQL puts off to the end, such as constraints that are deferred.
        Part::Commit | Part::Proof => format!("commit the migrations of tenant `{tenant}`"),
    };
    Error::Statement { doing, source: cause }
}

/// Returns the line of an error: as PostgreSQL tells it, else where the statement begins that failed.
fn line(file: &Migration, place: Place) -> Option<usize> {
    let begins = || file.statements().get(place.done).map(|(line, _)| *line);
    place.position.map(|position| file.line_of(position)).or_else(begins)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migration::parse;

    #[test]
    fn a_statement_without_a_position_is_known_by_its_number() {
        let file = parse("V1__a.sql", b"-- one\nSELECT 1;\n\nINSERT INTO t\nVALUES (1);\n").unwrap();
        let place = |done, position| Place { part: Part::File(0), done, position };
        assert_eq!(line(&file, place(1, None)), Some(4));
        assert_eq!(line(&file, place(9, None)), None);
        assert_eq!(line(&file, place(1, Some(40))), Some(5));
    }
}
