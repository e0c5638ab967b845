//! What else may be written into a history: a first one for a database that was there before, and a new checksum.

use stack::Events;

use super::history::Row;
use super::lock_and_read::{self, LockWait, Locked};
use super::message::Work;
use super::{OutOfOrder, RunOptions, connect, engine, plan};
use crate::migration::MigrationSet;
use crate::{Error, Login, Migration, Server, Session};

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
    /// What became of the file.
    pub change: Change,
}

/// What became of a file after it was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Its text is another one, its name the same.
    Edited,
    /// Its name is another one, its text the same: its checksum under the old name is the recorded one.
    Renamed,
    /// Name and text are others: by all that is known it is another migration.
    Replaced,
}

/// How a history and the files differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// The rows whose files hold something else.
    pub differences: Vec<Difference>,
    /// What no repair changes: versions that are ahead of the files, and files that came too late, each with what to do.
    pub beyond: Vec<String>,
}

/// Records the files up to and including `version` as applied, without running them.
///
/// Returns their names. For a database that holds what they make already.
///
/// # Errors
/// [`Error::Unfit`] if there is a history already, or no file of that version; those of [`connect`](crate::connect).
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
        let locked = lock_alone(&session, tenant, &set.table, options, events).await?;
        if !locked.history.is_empty() {
            let count = locked.history.len();
            return Err(unfit(format!(
                "its history holds {count} migrations; a baseline is for databases without"
            )));
        }
        engine::commit(&session, tenant, &locked.table, migrations, (Work::Record, &group)).await
    };
    let result = work.await;
    session.close().await;
    result.map(|()| group.iter().map(|&at| migrations[at].to_string()).collect())
}

/// Returns how a tenant's history differs from the files. Writes nothing.
///
/// # Errors
/// Those of [`connect`](crate::connect); [`Error::Statement`], [`Error::History`] and [`Error::Misplaced`] if the history
/// cannot be read.
pub async fn survey(
    server: &Server,
    login: &Login,
    set: &MigrationSet,
    options: &RunOptions,
) -> Result<Survey, Error> {
    let session = connect(server, login, &options.connect).await?;
    let history = lock_and_read::look(&session, &login.database, &set.table).await;
    session.close().await;
    let history = history?;
    Ok(Survey {
        differences: pairs(&history, &set.migrations).map(|(row, file)| difference(row, file)).collect(),
        beyond: beyond(&login.database, &history, &set.migrations),
    })
}

/// Returns what no repair changes.
fn beyond(tenant: &str, history: &[Row], migrations: &[Migration]) -> Vec<String> {
    let newest = migrations.iter().map(Migration::version).max();
    let gone = history.iter().filter(|row| !migrations.iter().any(|file| file.version() == row.version));
    let mut beyond: Vec<String> = gone
        .map(|row| {
            let what = format!("V{}__{} was applied on {}", row.version, row.name, row.applied_on);
            match newest.is_none_or(|newest| newest < row.version) {
                true => format!(
                    "{what} and has no file: the history is ahead of these files; migrate with those of the release \
                     that applied it, or write a later migration that takes its effect back and keep its file"
                ),
                false => format!("{what} and has no file: put its file back"),
            }
        })
        .collect();
    let late = plan::compare(tenant, history, migrations, OutOfOrder::Refuse).plan.late;
    beyond.extend(late.into_iter().map(|name| {
        format!("{name} is older than what was applied already: `migrate --out-of-order` applies it")
    }));
    beyond
}

/// Puts the files' names and checksums into these rows, which were seen to differ.
///
/// Nothing else is repaired, and nothing that changed since it was looked at.
///
/// # Errors
/// [`Error::Unfit`] if one of them is no longer as it was seen: nothing is written then.
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
        let locked = lock_alone(&session, tenant, &set.table, options, events).await?;
        let now: Vec<(Difference, (&Row, &Migration))> = pairs(&locked.history, &set.migrations)
            .map(|(row, file)| (difference(row, file), (row, file)))
            .collect();
        let is_there = |one: &Difference| now.iter().any(|(difference, _)| difference == one);
        if !seen.iter().all(is_there) {
            let reason = "its history has changed since it was looked at; look again".to_owned();
            return Err(Error::Unfit { tenant: tenant.clone(), reason });
        }
        let chosen = now.iter().filter(|(difference, _)| seen.contains(difference));
        let updates = chosen.map(|(_, (row, file))| locked.table.update(file, row));
        engine::write(&session, tenant, updates).await
    };
    let result = work.await;
    session.close().await;
    result
}

async fn lock_alone(
    session: &Session,
    tenant: &str,
    table: &str,
    options: &RunOptions,
    events: &Events,
) -> Result<Locked, Error> {
    let wait = LockWait { limit: options.lock_limit, stop: &options.stop, events };
    lock_and_read::lock_and_read(session, tenant, table, &wait).await
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
        change: match file.name() == row.name {
            true => Change::Edited,
            false if file.checksum_as(&row.name) == Some(row.checksum) => Change::Renamed,
            false => Change::Replaced,
        },
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
        assert_eq!(found[0].change, Change::Edited);
        let beyond = beyond("t", &history, &files);
        assert!(beyond.len() == 1 && beyond[0].starts_with("V3__gone was applied on 2026"), "{beyond:?}");
        assert!(beyond[0].contains("the history is ahead of these files"), "{beyond:?}");
    }

    #[test]
    fn a_file_with_another_name_is_the_same_one_if_its_text_is() {
        let applied = parse("V1__a.sql", b"SELECT 1;").unwrap();
        let row = Row {
            version: 1,
            name: "a".to_owned(),
            applied_on: "2026-01-01T00:00:00Z".to_owned(),
            checksum: applied.checksum(),
        };
        let renamed = parse("V1__b.sql", b"SELECT 1;").unwrap();
        assert_eq!(difference(&row, &renamed).change, Change::Renamed);
        let replaced = parse("V1__b.sql", b"SELECT 2;").unwrap();
        assert_eq!(difference(&row, &replaced).change, Change::Replaced);
        let hand_made = Row { name: "not a name".to_owned(), ..row };
        assert_eq!(difference(&hand_made, &renamed).change, Change::Replaced);
    }
}
