//! What else may be written into a history: a first one for a database that was there before, and a new checksum.

use stack::Events;

use super::RunOptions;
use super::engine;
use super::enter::{self, Entered, Patience};
use super::history::Row;
use super::message::Work;
use crate::migration::MigrationSet;
use crate::{Error, Login, Migration, Server, Session, connect};

/// A file whose row of history holds something else.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// The version of both.
    pub version: i32,
    /// What was applied: `V3__add_orders`.
    pub applied: String,
    /// The checksum that was recorded with it.
    pub applied_checksum: u64,
    /// When, as it was recorded.
    pub applied_on: String,
    /// The file.
    pub file: String,
    /// The file's checksum.
    pub file_checksum: u64,
}

/// Records the files up to and including `version` as applied, without running them.
///
/// Returns their names. For a database that holds what they make already.
///
/// # Errors
/// [`Error::Unfit`] if there is a history already, or no file of that version; those of [`connect`].
pub async fn baseline(
    server: &Server,
    login: &Login,
    set: &MigrationSet,
    version: i32,
    options: &RunOptions,
    events: &Events,
) -> Result<Vec<String>, Error> {
    let (tenant, migrations) = (&login.database, &set.migrations);
    let unfit = |reason: String| Error::Unfit { tenant: tenant.clone(), reason };
    let group: Vec<usize> = (0..migrations.len()).filter(|&at| migrations[at].version() <= version).collect();
    if !migrations.iter().any(|file| file.version() == version) {
        return Err(unfit(format!("there is no migration V{version} to begin with")));
    }
    let session = connect(server, login, &options.connect).await?;
    let work = async {
        let entered = enter_alone(&session, tenant, &set.table, options, events).await?;
        if !entered.history.is_empty() {
            let count = entered.history.len();
            return Err(unfit(format!(
                "its history holds {count} migrations; a baseline is for databases without"
            )));
        }
        engine::commit(&session, tenant, &entered.table, migrations, (Work::Record, &group)).await
    };
    let result = work.await;
    session.close().await;
    result.map(|()| group.iter().map(|&at| migrations[at].to_string()).collect())
}

/// Returns the rows of a tenant's history that differ from their files. Writes nothing.
///
/// # Errors
/// Those of [`connect`]; [`Error::Statement`] and [`Error::History`] if the history cannot be read.
pub async fn differences(
    server: &Server,
    login: &Login,
    set: &MigrationSet,
    options: &RunOptions,
) -> Result<Vec<Difference>, Error> {
    let session = connect(server, login, &options.connect).await?;
    let history = enter::look(&session, &set.table).await;
    session.close().await;
    Ok(pairs(&history?, &set.migrations).map(|(row, file)| difference(row, file)).collect())
}

/// Puts the files' names and checksums into the rows that still differ from them as `seen` says.
///
/// Nothing else is repaired, and nothing that changed since it was looked at.
///
/// # Errors
/// [`Error::Unfit`] if the history is no longer as it was seen: nothing is written then.
pub async fn repair(
    server: &Server,
    login: &Login,
    set: &MigrationSet,
    seen: &[Difference],
    options: &RunOptions,
    events: &Events,
) -> Result<(), Error> {
    let tenant = &login.database;
    let session = connect(server, login, &options.connect).await?;
    let work = async {
        let entered = enter_alone(&session, tenant, &set.table, options, events).await?;
        let now: Vec<Difference> =
            pairs(&entered.history, &set.migrations).map(|(row, file)| difference(row, file)).collect();
        if now != seen {
            let reason = "its history has changed since it was looked at; look again".to_owned();
            return Err(Error::Unfit { tenant: tenant.clone(), reason });
        }
        let updates =
            pairs(&entered.history, &set.migrations).map(|(row, file)| entered.table.update(file, row));
        engine::write(&session, tenant, updates).await
    };
    let result = work.await;
    session.close().await;
    result
}

async fn enter_alone(
    session: &Session,
    tenant: &str,
    table: &str,
    options: &RunOptions,
    events: &Events,
) -> Result<Entered, Error> {
    let patience = Patience { limit: options.lock_limit, stop: &options.stop, events };
    enter::enter(session, tenant, table, &patience).await
}

fn pairs<'a>(
    history: &'a [Row],
    migrations: &'a [Migration],
) -> impl Iterator<Item = (&'a Row, &'a Migration)> {
    history.iter().filter_map(|row| {
        let file = migrations.iter().find(|file| file.version() == row.version)?;
        (file.checksum() != row.checksum || file.name() != row.name).then_some((row, file))
    })
}

fn difference(row: &Row, file: &Migration) -> Difference {
    Difference {
        version: row.version,
        applied: format!("V{}__{}", row.version, row.name),
        applied_checksum: row.checksum,
        applied_on: row.applied_on.clone(),
        file: file.to_string(),
        file_checksum: file.checksum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migration::parse;

    #[test]
    fn only_rows_that_differ_from_a_file_of_their_version_are_shown() {
        let files = [parse("V1__a.sql", b"SELECT 1;").unwrap(), parse("V2__b.sql", b"SELECT 2;").unwrap()];
        let row = |version, name: &str, checksum| Row {
            version,
            name: name.to_owned(),
            applied_on: "2026-01-01T00:00:00Z".to_owned(),
            checksum,
        };
        let history = [row(1, "a", files[0].checksum()), row(2, "b", 7), row(3, "gone", 9)];
        let found: Vec<Difference> =
            pairs(&history, &files).map(|(row, file)| difference(row, file)).collect();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].applied_checksum, found[0].file_checksum), (7, files[1].checksum()));
    }
}
