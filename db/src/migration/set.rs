//! Sets of migrations, for products that diverge: a folder each, with a history of its own.

use std::path::Path;

use super::{Migration, load};
use crate::{Error, link};

/// refinery's history table.
const TABLE: &str = "refinery_schema_history";

/// Migrations that belong together, and where their history is.
#[derive(Clone, Debug)]
pub struct MigrationSet {
    /// The folder's name; nothing for the files that lie flat.
    pub name: Option<String>,
    /// The history table: refinery's own for the flat files, `refinery_schema_history_<name>` for a set. Plain refinery
    /// finds it with `set_migration_table_name`.
    pub table: String,
    /// The migrations, by version.
    pub migrations: Vec<Migration>,
}

impl MigrationSet {
    /// Returns files that belong to no set, with refinery's own history table.
    pub fn flat(migrations: Vec<Migration>) -> MigrationSet {
        MigrationSet { name: None, table: history_table(None), migrations }
    }
}

/// Returns the history table of the set of that name, or of the files that lie flat.
pub fn history_table(set: Option<&str>) -> String {
    set.map_or_else(|| TABLE.to_owned(), |name| format!("{TABLE}_{name}"))
}

/// Returns the set of that name under `dir`, or the files that lie flat in it.
///
/// A set is its folder's files alone: nothing is shared but what is copied, so that no change to one product's files can
/// reach another's databases.
///
/// # Errors
/// Those of [`load`]; [`Error::Set`] if the name cannot be a set's, or there is no such folder.
pub fn load_set(dir: &Path, name: Option<&str>) -> Result<MigrationSet, Error> {
    let Some(name) = name else {
        return Ok(MigrationSet::flat(load(dir)?));
    };
    let folder = dir.join(name);
    // The name becomes a path: nothing but a plain word may.
    if !stack::config::is_migration_set(name) || !folder.is_dir() {
        return Err(Error::Set { dir: dir.to_owned(), name: super::quoted(name), known: sets(dir)? });
    }
    Ok(MigrationSet {
        name: Some(name.to_owned()),
        table: history_table(Some(name)),
        migrations: load(&folder)?,
    })
}

/// Returns the names of the sets under `dir`, sorted.
///
/// # Errors
/// [`Error::Read`] if the directory cannot be read.
pub fn sets(dir: &Path) -> Result<Vec<String>, Error> {
    link::check(dir)?;
    let read = |source| Error::Read { path: dir.to_owned(), source };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(read)? {
        let entry = entry.map_err(read)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if stack::config::is_migration_set(&name) && entry.path().is_dir() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}
