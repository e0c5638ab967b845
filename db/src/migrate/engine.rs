//! The second round trip: everything that is committed together, sent without waiting for an answer.

use futures_util::{StreamExt, pin_mut};
use tokio_postgres::{SimpleQueryMessage, SimpleQueryStream};

use super::history::Table;
use crate::lock::{self, NOT_HELD};
use crate::{Cause, Error, Migration, Refusal, Session};

/// Gives every file the settings that the session began with, whatever the file before it left behind: a migration
/// must not depend on what else happens to be pending.
const AS_AT_FIRST: &str = "RESET ROLE; RESET ALL";

/// What a message to the server is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Open,
    File(usize),
    Row(usize),
    Commit,
    Proof,
}

/// What the server answered to one message.
struct Answer {
    /// Statements that were carried out.
    done: usize,
    /// The first column of the last row.
    value: Option<String>,
}

/// What becomes of each file of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// It is run and recorded.
    Apply,
    /// It is recorded alone.
    Record,
}

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
    let mut sent = Vec::with_capacity(2 * group.len() + 3);
    for (part, sql) in messages(table, migrations, work, group) {
        // Returns as soon as it is queued: the order is this loop's, and nothing is waited for.
        let answer = session
            .client()
            .simple_query_raw(&sql)
            .await
            .map_err(|error| failed(tenant, migrations, part, 0, error.into()))?;
        sent.push((part, answer));
    }
    let mut first = None;
    let mut recorded = None;
    for (part, answer) in sent {
        match drain(answer).await {
            Ok(answer) if part == Part::Proof => recorded = answer.value,
            Ok(_) => {}
            Err((done, cause)) => {
                let is_answer = cause.refusal().is_some();
                // After the first, all say 25P02, and COMMIT is answered ROLLBACK: read, so as to know it is over.
                first.get_or_insert_with(|| (part, failed(tenant, migrations, part, done, cause)));
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

/// Returns what is sent, in order.
fn messages<'a>(
    table: &'a Table,
    migrations: &'a [Migration],
    work: Work,
    group: &'a [usize],
) -> impl Iterator<Item = (Part, String)> + 'a {
    let open = ["BEGIN".to_owned(), lock::MIGRATIONS.guard()].into_iter().chain(table.create());
    let files = group.iter().flat_map(move |&at| {
        let file = &migrations[at];
        let run = (work == Work::Apply).then(|| (Part::File(at), file.sql().to_owned()));
        run.into_iter().chain([(Part::Row(at), format!("{AS_AT_FIRST}; {}", table.insert(file)))])
    });
    std::iter::once((Part::Open, open.collect::<Vec<_>>().join("; "))).chain(files).chain([
        (Part::Commit, "COMMIT".to_owned()),
        (Part::Proof, table.count(group.iter().map(move |&at| &migrations[at]))),
    ])
}

/// Reads an answer to its end; an error comes with the number of statements that were carried out before it.
async fn drain(answer: SimpleQueryStream) -> Result<Answer, (usize, Cause)> {
    pin_mut!(answer);
    let mut read = Answer { done: 0, value: None };
    while let Some(message) = answer.next().await {
        match message {
            Ok(SimpleQueryMessage::CommandComplete(_)) => read.done += 1,
            Ok(SimpleQueryMessage::Row(row)) => {
                read.value = row.try_get(0).ok().flatten().map(str::to_owned);
            }
            // Descriptions of rows, and whatever may come to be.
            Ok(_) => {}
            Err(error) => return Err((read.done, error.into())),
        }
    }
    Ok(read)
}

fn failed(tenant: &str, migrations: &[Migration], part: Part, done: usize, cause: Cause) -> Error {
    // Without the proof it is as open as without an answer.
    if cause.is_lost() || part == Part::Proof {
        let migration = match part {
            Part::File(at) | Part::Row(at) => Some(migrations[at].to_string()),
            Part::Open | Part::Commit | Part::Proof => None,
        };
        return Error::Lost { tenant: tenant.to_owned(), migration, source: cause };
    }
    let sqlstate = cause.refusal().map(|refusal| refusal.sqlstate.as_str());
    let doing = match part {
        Part::File(at) => {
            let line = line(&migrations[at], done, cause.refusal());
            let migration = migrations[at].to_string();
            return Error::Migration { tenant: tenant.to_owned(), migration, line, source: cause };
        }
        Part::Open if sqlstate == Some(NOT_HELD) => {
            return Error::LockLost { lock: lock::MIGRATIONS.name };
        }
        // Plain refinery takes no lock: its row, or its table, was there first.
        Part::Open | Part::Row(_) if matches!(sqlstate, Some("23505" | "42P07")) => {
            return Error::Overtaken { tenant: tenant.to_owned() };
        }
        Part::Open => format!("begin to migrate `{tenant}`"),
        Part::Row(at) => format!("record `{}` of tenant `{tenant}`", migrations[at]),
        // What PostgreSQL puts off to the end, such as constraints that are deferred.
        Part::Commit | Part::Proof => format!("commit the migrations of tenant `{tenant}`"),
    };
    Error::Statement { doing, source: cause }
}

/// Returns the line of an error: as PostgreSQL tells it, else where the statement begins that failed.
fn line(file: &Migration, done: usize, refusal: Option<&Refusal>) -> Option<usize> {
    // A connection that broke says nothing about a statement.
    let refusal = refusal?;
    let begins = || file.statements().get(done).map(|(line, _)| *line);
    refusal.position.map(|position| file.line_of(position)).or_else(begins)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migration::parse;

    #[test]
    fn each_file_is_followed_by_its_row_and_all_is_inside_one_transaction() {
        let files =
            [parse("V1__a.sql", b"SELECT 1;\n").unwrap(), parse("V2__b.sql", b"SELECT 2;\n").unwrap()];
        let table = Table::new("public".to_owned(), false);
        let sent: Vec<(Part, String)> = messages(&table, &files, Work::Apply, &[0, 1]).collect();
        let parts: Vec<Part> = sent.iter().map(|(part, _)| *part).collect();
        assert_eq!(
            parts,
            [Part::Open, Part::File(0), Part::Row(0), Part::File(1), Part::Row(1), Part::Commit, Part::Proof]
        );
        assert!(sent[0].1.starts_with("BEGIN; SELECT 1 / count(*) FROM pg_locks"), "{}", sent[0].1);
        assert!(sent[0].1.contains("; CREATE TABLE IF NOT EXISTS \"public\".refinery_schema_history("));
        assert_eq!(sent[3].1, "SELECT 2;\n");
    }

    #[test]
    fn a_statement_without_a_position_is_known_by_its_number() {
        let file = parse("V1__a.sql", b"-- one\nSELECT 1;\n\nINSERT INTO t\nVALUES (1);\n").unwrap();
        let mut refusal = Refusal {
            severity: "ERROR".to_owned(),
            sqlstate: "23505".to_owned(),
            message: "twice".to_owned(),
            detail: None,
            hint: None,
            context: None,
            position: None,
        };
        assert_eq!(line(&file, 1, Some(&refusal)), Some(4));
        assert_eq!(line(&file, 9, Some(&refusal)), None);
        assert_eq!(line(&file, 1, None), None);
        refusal.position = Some(40);
        assert_eq!(line(&file, 1, Some(&refusal)), Some(5));
    }
}
