//! Migration files, as refinery names and hashes them. What refinery would skip or misread is refused here.

pub mod lint;
mod mode;
mod set;
mod statement;
mod token;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

pub use self::mode::Mode;
pub use self::set::{MigrationSet, history_table, load_set, sets};
use crate::{Error, link};

/// One migration: `V3__add_orders.sql`.
#[derive(Clone, Debug)]
pub struct Migration {
    inner: refinery::Migration,
    file_name: String,
    sql: String,
    mode: Mode,
    is_complete: bool,
}

impl Migration {
    /// Returns its version.
    pub fn version(&self) -> i32 {
        self.inner.version()
    }

    /// Returns its name without prefix and version: `add_orders`.
    pub fn name(&self) -> &str {
        self.inner.name()
    }

    /// Returns refinery's checksum over name, version and text.
    pub fn checksum(&self) -> u64 {
        self.inner.checksum()
    }

    /// Returns the checksum that it would have under another name, if that can be one.
    pub(crate) fn checksum_as(&self, name: &str) -> Option<u64> {
        let file = format!("{}{}__{name}", self.inner.prefix(), self.version());
        let other = refinery::Migration::unapplied(&file, &self.sql).ok()?;
        (other.name() == name).then(|| other.checksum())
    }

    /// Returns its file's name: `V3__add_orders.sql`.
    pub fn file_name(&self) -> &str {
        &self.file_name
    }

    /// Returns its text.
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// Returns whether it is applied in the order of versions (`V`) or whenever it is new (`U`).
    pub fn order(&self) -> Order {
        match self.inner.prefix().to_string().as_str() {
            "U" => Order::Free,
            _ => Order::Versioned,
        }
    }

    /// Returns which transaction it runs in.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Returns its statements, each with the line, counted from 1, that it begins in.
    pub fn statements(&self) -> Vec<(usize, &str)> {
        statement::split(&self.sql)
    }

    /// Returns whether it is over where it ends: no quotation, comment or body of a function is open there.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Returns the line, counted from 1, of a character of its text, counted from 1 as PostgreSQL does.
    pub fn line_of(&self, position: u32) -> usize {
        let before = usize::try_from(position).unwrap_or(usize::MAX).saturating_sub(1);
        1 + self.sql.chars().take(before).filter(|c| *c == '\n').count()
    }
}

impl fmt::Display for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// When a migration is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// After every lower version; refused once a higher one is applied.
    Versioned,
    /// Whenever it is not applied yet.
    Free,
}

/// Returns the migrations that lie flat in a directory, by version; folders that may be sets are passed over.
///
/// # Errors
/// [`Error::Migrations`] names every file that does not fit: refinery would skip it with a line in its log, apply
/// it under another checksum elsewhere, or lose its row of history. [`Error::Read`] if the directory is not there.
pub fn load(dir: &Path) -> Result<Vec<Migration>, Error> {
    link::check(dir)?;
    let read = |source| Error::Read { path: dir.to_owned(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(read)? {
        names.push(entry.map_err(read)?.file_name());
    }
    names.sort();

    let mut problems = Vec::new();
    let mut by_version: BTreeMap<i32, (String, Migration)> = BTreeMap::new();
    for name in &names {
        let shown = name.to_string_lossy();
        // Editors and file systems leave those about.
        if shown.starts_with('.') || is_set(&dir.join(name), &shown) {
            continue;
        }
        let migration = match load_one(&dir.join(name), &shown)? {
            Ok(migration) => migration,
            Err(reason) => {
                problems.push(format!("{}: {reason}", quoted(&shown)));
                continue;
            }
        };
        if let Some((other, _)) = by_version.get(&migration.version()) {
            problems.push(format!("`{shown}`: version {} is also `{other}`", migration.version()));
            continue;
        }
        by_version.insert(migration.version(), (shown.into_owned(), migration));
    }
    if !problems.is_empty() {
        return Err(Error::Migrations { dir: dir.to_owned(), problems });
    }
    Ok(by_version.into_values().map(|(_, migration)| migration).collect())
}

/// Returns the versions that are left out between the first and the last: harmless, but often a file forgotten.
pub fn gaps(migrations: &[Migration]) -> Vec<i32> {
    let mut gaps = Vec::new();
    for pair in migrations.windows(2) {
        // Versions that are dates leave millions out, and none of them was forgotten.
        let left_out = pair[0].version() + 1..pair[1].version();
        if left_out.len() < 10 {
            gaps.extend(left_out);
        }
    }
    gaps
}

/// Returns a migration from its file's name and content, or why the file does not fit.
///
/// # Errors
/// The reason, as a fragment.
pub fn parse(file_name: &str, content: &[u8]) -> Result<Migration, String> {
    let stem = check_name(file_name)?;
    let sql = check_text(content)?;
    let inner = refinery::Migration::unapplied(stem, sql).map_err(|error| error.to_string())?;
    let mode = mode::parse(sql)?;
    let is_complete = statement::is_complete(sql);
    Ok(Migration { inner, file_name: file_name.to_owned(), sql: sql.to_owned(), mode, is_complete })
}

fn is_set(path: &Path, name: &str) -> bool {
    stack::config::is_migration_set(name) && path.is_dir()
}

fn load_one(path: &Path, shown: &str) -> Result<Result<Migration, String>, Error> {
    let read = |source| Error::Read { path: path.to_owned(), source };
    if fs::metadata(path).map_err(read)?.is_dir() {
        return Ok(Err(
            "a directory whose name cannot be a set's: 1 to 39 lowercase letters, digits and underscores"
                .to_owned(),
        ));
    }
    if let Err(reason) = check_name(shown) {
        return Ok(Err(reason));
    }
    link::check(path)?;
    Ok(parse(shown, &fs::read(path).map_err(read)?))
}

/// Returns the name without `.sql`, if refinery reads it as it is meant: `V`, digits, two underscores, a word.
fn check_name(file_name: &str) -> Result<&str, String> {
    let refuse = |reason: &str| Err(format!("{reason}; a migration is named like `V1__create_accounts.sql`"));
    let Some(stem) = file_name.strip_suffix(".sql") else {
        return refuse("does not end in `.sql`");
    };
    let Some(rest) = stem.strip_prefix(['V', 'U']) else {
        return refuse("does not begin with `V` (or `U`)");
    };
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (version, rest) = rest.split_at(digits);
    if version.is_empty() {
        return refuse("has no version");
    }
    if version.parse::<i32>().is_err() {
        return refuse("has too high a version");
    }
    let Some(word) = rest.strip_prefix("__") else {
        return refuse("has no two underscores after the version");
    };
    // refinery puts the word into a statement as it is, and its history holds 255 characters.
    if word.is_empty() || !word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return refuse("has more than letters, digits and underscores in its name");
    }
    if word.len() > 200 {
        return refuse("is too long");
    }
    Ok(stem)
}

/// Returns a file's name so that it fits a line of a terminal; nobody chose the names that do not fit.
fn quoted(name: &str) -> String {
    const LIMIT: usize = 100;
    let count = name.chars().count();
    let shown: String = name.chars().take(LIMIT).flat_map(char::escape_debug).collect();
    if count > LIMIT { format!("`{shown}..` ({count} characters)") } else { format!("`{shown}`") }
}

fn check_text(content: &[u8]) -> Result<&str, String> {
    if content.starts_with(b"\xef\xbb\xbf") {
        return Err("begins with a byte order mark; save it without".to_owned());
    }
    let sql = std::str::from_utf8(content)
        .map_err(|error| format!("is not UTF-8 from byte {} on", error.valid_up_to() + 1))?;
    if sql.contains('\r') {
        return Err(
            "has carriage returns, which change its checksum; save it with line feeds alone".to_owned()
        );
    }
    if sql.contains('\0') {
        return Err("holds a zero byte".to_owned());
    }
    if let Some((line, reason)) = statement::find_refused(sql) {
        return Err(format!("line {line}: {reason}"));
    }
    if statement::is_blank(sql) {
        return Err("holds no statement".to_owned());
    }
    Ok(sql)
}
