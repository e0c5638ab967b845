//! Runs a file outside of any transaction: one statement after the other, then its row of history.

use futures_util::{TryStreamExt, pin_mut};

use super::engine;
use super::history::Table;
use super::message::Work;
use crate::lock::{self, NOT_HELD};
use crate::quote::ident;
use crate::{Cause, Error, Migration, Session, path};

/// Runs the file's statements and records it, if every index that it names can be used.
///
/// # Errors
/// [`Error::Unfinished`] and [`Error::InvalidIndex`] tell what to remove before the next run; nothing is recorded.
pub(super) async fn run(
    session: &Session,
    tenant: &str,
    table: &Table,
    migrations: &[Migration],
    at: usize,
) -> Result<(), Error> {
    let file = &migrations[at];
    check_lock(session, tenant).await?;
    for (begins, sql) in file.statements() {
        let Err(error) = one(session, sql).await else { continue };
        let cause = Cause::from(error);
        let line = cause.refusal().map(|refusal| {
            // PostgreSQL counts from where the statement begins.
            begins + refusal.position.map_or(0, |position| lines_before(sql, position))
        });
        // If the connection is lost, we cannot see what the file left.
        let invalid = find_invalid(session, file).await.unwrap_or_default();
        let (tenant, migration) = (tenant.to_owned(), file.to_string());
        return Err(Error::Unfinished { tenant, migration, line, invalid, source: cause });
    }
    let invalid = find_invalid(session, file).await?;
    if !invalid.is_empty() {
        let (tenant, migration) = (tenant.to_owned(), file.to_string());
        return Err(Error::InvalidIndex { tenant, migration, invalid });
    }
    engine::commit(session, tenant, table, migrations, (Work::Record, &[at])).await
}

/// Sends one statement; with another in the same message the server would make a transaction of both.
async fn one(session: &Session, sql: &str) -> Result<(), tokio_postgres::Error> {
    let answer = session.client().simple_query_raw(sql).await?;
    pin_mut!(answer);
    while answer.try_next().await?.is_some() {}
    Ok(())
}

/// Checks the lock, and lifts `lock_timeout`: an index whose creation times out is left invalid. `search_path` is the tenant's
/// own, as for any other program.
async fn check_lock(session: &Session, tenant: &str) -> Result<(), Error> {
    let sql = format!("{}; SET lock_timeout = 0; {}", path::RESET, lock::MIGRATIONS.guard());
    match one(session, &sql).await {
        Ok(()) => Ok(()),
        Err(error) if error.code().is_some_and(|code| code.code() == NOT_HELD) => {
            Err(Error::LockLost { lock: lock::MIGRATIONS.name })
        }
        Err(error) => Err(Error::Statement {
            doing: format!("see whether tenant `{tenant}` is still locked"),
            source: error.into(),
        }),
    }
}

/// Returns what removes each index that is not valid and whose name the file holds.
///
/// A failed `CREATE INDEX CONCURRENTLY` leaves one: it costs every write and helps no query, and
/// `IF NOT EXISTS` takes it for done. Those of partitioned tables are meant to be invalid for a while.
async fn find_invalid(session: &Session, file: &Migration) -> Result<Vec<String>, Error> {
    const SQL: &str = "
        SELECT n.nspname::text, c.relname::text
        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE NOT i.indisvalid AND c.relkind = 'i' AND n.nspname <> 'pg_toast' ORDER BY 1, 2";
    let rows = session.query(SQL, &[], "look for indexes that are not valid").await?;
    let found = rows.iter().map(|row| (row.get::<_, String>(0), row.get::<_, String>(1)));
    Ok(found
        .filter(|(_, name)| names(file.sql(), name))
        .map(|(schema, name)| format!("DROP INDEX CONCURRENTLY {}.{}", ident(&schema), ident(&name)))
        .collect())
}

/// Returns whether the text holds the index's name; `REINDEX CONCURRENTLY` adds an ending of its own to it.
fn names(sql: &str, index: &str) -> bool {
    let base = index.trim_end_matches(|c: char| c.is_ascii_digit());
    let stem = ["_ccnew", "_ccold"].iter().find_map(|end| base.strip_suffix(end)).unwrap_or(index);
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    // Unquoted names are folded to lower case.
    let (sql, stem) = (sql.to_lowercase(), stem.to_lowercase());
    sql.match_indices(&stem)
        .any(|(at, _)| !sql[..at].ends_with(is_word) && !sql[at + stem.len()..].starts_with(is_word))
}

fn lines_before(sql: &str, position: u32) -> usize {
    let before = usize::try_from(position).unwrap_or(usize::MAX).saturating_sub(1);
    sql.chars().take(before).filter(|c| *c == '\n').count()
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn an_index_is_the_files_if_the_file_names_it_as_a_whole() {
        let sql = "CREATE INDEX CONCURRENTLY Order_By_Day ON orders (day);";
        for index in ["order_by_day", "order_by_day_ccnew", "order_by_day_ccnew1", "orders"] {
            assert!(names(sql, index), "{index}");
        }
        for index in ["order", "order_by", "by_day", "order_by_day2"] {
            assert!(!names(sql, index), "{index}");
        }
    }
}
