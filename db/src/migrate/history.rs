//! refinery's history table: reading it, and writing rows that refinery takes for its own.

use tokio_postgres::SimpleQueryRow;

use crate::quote::{ident, literal};
use crate::{Cause, Error, Migration};

/// A row of refinery's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) version: i32,
    pub(super) name: String,
    pub(super) applied_on: String,
    pub(super) checksum: u64,
}

/// refinery's columns hold no more characters.
const LONGEST: usize = 255;
/// Nobody has so many files; a table with more rows is no history.
const MOST: usize = 10_000;

/// Returns a query for the history. It needs no more than the right to read.
///
/// As text: refinery panics on a value that it did not write. In no order: that is cheaper to bring about here. The table alone
/// is looked for where `search_path` leads. It is the tenant's, who may have put anything into it: no more of that is sent than
/// shows that it is not refinery's.
pub(super) fn read(table: &str) -> String {
    let table = ident(table);
    let columns = ["version", "name", "applied_on", "checksum"]
        .map(|column| format!("pg_catalog.left(h.{column}::pg_catalog.text, {})", LONGEST + 1));
    format!("SELECT {} FROM {table} h LIMIT {}", columns.join(", "), MOST + 1)
}

/// refinery's own statement, but for the schema.
const CREATE: &str = "(
             version int4 PRIMARY KEY,
             name VARCHAR(255),
             applied_on VARCHAR(255),
             checksum VARCHAR(255))";

/// Returns what was applied, by version, from the answer to [`read`]; no table is an empty history.
pub(super) fn parse(
    table: &str,
    rows: &[SimpleQueryRow],
    error: Option<tokio_postgres::Error>,
) -> Result<Vec<Row>, Error> {
    match error {
        None => {}
        Some(error) if error.code().is_some_and(|code| code.code() == "42P01") => return Ok(Vec::new()),
        Some(error) => {
            return Err(Error::Statement {
                doing: "read the history".to_owned(),
                source: Cause::from(error),
            });
        }
    }
    if rows.len() > MOST {
        return Err(Error::History {
            table: table.to_owned(),
            reason: format!("it has more than {MOST} rows, which no history has"),
        });
    }
    let mut rows = rows.iter().map(|row| parse_row(table, row)).collect::<Result<Vec<Row>, Error>>()?;
    rows.sort_by_key(|row| row.version);
    Ok(rows)
}

fn parse_row(table: &str, row: &SimpleQueryRow) -> Result<Row, Error> {
    let refuse = |reason: String| Error::History { table: table.to_owned(), reason };
    let text = |at: usize, what: &str| {
        let value = row.try_get(at).map_err(|_| refuse(format!("a {what} is not text in UTF-8")))?;
        let value = value.ok_or_else(|| refuse(format!("a {what} is null")))?;
        match value.chars().nth(LONGEST) {
            None => Ok(value.to_owned()),
            Some(_) => Err(refuse(format!("a {what} has more than {LONGEST} characters"))),
        }
    };
    let unreadable = |what: &str, value: &str| refuse(format!("{what} `{value}`"));
    let (version, checksum) = (text(0, "version")?, text(3, "checksum")?);
    let applied_on = text(2, "date")?;
    if !is_rfc3339(&applied_on) {
        return Err(unreadable("date", &applied_on));
    }
    Ok(Row {
        version: version.parse().map_err(|_| unreadable("version", &version))?,
        name: text(1, "name")?,
        applied_on,
        checksum: checksum.parse().map_err(|_| unreadable("checksum", &checksum))?,
    })
}

/// Where the history is, or is to be.
///
/// Named with its schema: a file that empties `search_path`, as `pg_dump` writes them, must not hide it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    schema: String,
    name: String,
    pub(super) exists: bool,
}

impl Table {
    pub(super) fn new(schema: String, name: &str, exists: bool) -> Table {
        Table { schema, name: name.to_owned(), exists }
    }

    fn name(&self) -> String {
        format!("{}.{}", ident(&self.schema), ident(&self.name))
    }

    /// Returns what makes the table as refinery does; nothing if it is there.
    pub(super) fn create(&self) -> Option<String> {
        (!self.exists).then(|| format!("CREATE TABLE IF NOT EXISTS {}{CREATE}", self.name()))
    }

    /// Returns what records a migration, in refinery's format, by the server's clock.
    pub(super) fn insert(&self, migration: &Migration) -> String {
        format!(
            "INSERT INTO {} (version, name, applied_on, checksum) VALUES ({}, {}, {NOW}, '{}')",
            self.name(),
            migration.version(),
            literal(migration.name()),
            migration.checksum()
        )
    }

    /// Returns what puts another name and checksum into a row that still holds the old ones.
    ///
    /// Like all that is run between files, whatever `search_path` leads to.
    pub(super) fn update(&self, migration: &Migration, was: &Row) -> String {
        format!(
            "UPDATE {} SET name = {}, checksum = '{}' WHERE version OPERATOR(pg_catalog.=) {} \
             AND name OPERATOR(pg_catalog.=) {} AND checksum OPERATOR(pg_catalog.=) '{}'",
            self.name(),
            literal(migration.name()),
            migration.checksum(),
            was.version,
            literal(&was.name),
            was.checksum
        )
    }

    /// Returns a query for how many of these are recorded as they are.
    pub(super) fn count<'a>(&self, migrations: impl Iterator<Item = &'a Migration>) -> String {
        let rows: Vec<String> =
            migrations.map(|file| format!("{} {}", file.version(), file.checksum())).collect();
        // As one array: the planner looks at each member of a list.
        format!(
            "SELECT pg_catalog.count(*) FROM {} WHERE (version OPERATOR(pg_catalog.||) ' ' \
             OPERATOR(pg_catalog.||) checksum) OPERATOR(pg_catalog.=) ANY ('{{{}}}')",
            self.name(),
            rows.join(",")
        )
    }
}

/// RFC 3339 in UTC, which is all that refinery reads.
const NOW: &str =
    r#"pg_catalog.to_char(pg_catalog.clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"#;

/// Returns whether refinery could read the date: `2026-01-31T23:59:59.5Z`, or with an offset. It panics on others.
fn is_rfc3339(date: &str) -> bool {
    let Some((day, clock)) = date.split_once(['T', 't']) else { return false };
    let Some(zone) = clock.find(['Z', 'z', '+', '-']) else { return false };
    let (clock, zone) = clock.split_at(zone);
    let (seconds, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    is_day(day)
        && numbers(seconds, ':', &[23, 59, 59])
        && !fraction.is_empty()
        && fraction.bytes().all(|c| c.is_ascii_digit())
        && (zone.eq_ignore_ascii_case("z") || numbers(&zone[1..], ':', &[23, 59]))
}

fn is_day(day: &str) -> bool {
    let Some((year, rest)) = day.split_once('-') else { return false };
    let Some(year) = (year.len() == 4).then(|| year.parse::<u32>().ok()).flatten() else { return false };
    if !numbers(rest, '-', &[12, 31]) {
        return false;
    }
    let (month, day) = rest.split_at(2);
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let last = match month {
        "00" => 0,
        "02" if is_leap => 29,
        "02" => 28,
        "04" | "06" | "09" | "11" => 30,
        _ => 31,
    };
    (1..=last).contains(&day[1..].parse::<u32>().unwrap_or_default())
}

/// Returns whether the text is numbers of two digits, none above its limit.
fn numbers(text: &str, separator: char, limits: &[u32]) -> bool {
    let parts: Vec<&str> = text.split(separator).collect();
    parts.len() == limits.len()
        && parts.iter().zip(limits).all(|(part, limit)| {
            part.len() == 2
                && part.bytes().all(|c| c.is_ascii_digit())
                && part.parse::<u32>().is_ok_and(|n| n <= *limit)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migration::parse as file;

    #[test]
    fn dates_that_refinery_writes_are_accepted_and_others_are_not() {
        for date in [
            "2026-11-23T23:28:25.970620691Z",
            "2026-01-01T00:00:00Z",
            "2026-01-01T00:00:00+01:00",
            "2024-02-29T00:00:00.1-00:00",
        ] {
            assert!(is_rfc3339(date), "{date}");
        }
        for date in [
            "",
            "garbage",
            "2026-01-01",
            "2026-01-01 00:00:00Z",
            "2026-01-01T00:00:00",
            "2026-99-99T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-00-10T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00+1:00",
            "+026-01-01T00:00:00é",
        ] {
            assert!(!is_rfc3339(date), "{date}");
        }
    }

    #[test]
    fn the_history_is_named_with_its_schema_and_made_only_where_it_is_missing() {
        let table = Table::new("we\"ird".to_owned(), "refinery_schema_history_shop", false);
        assert!(table.create().is_some_and(|sql| {
            sql.starts_with("CREATE TABLE IF NOT EXISTS \"we\"\"ird\".\"refinery_schema_history_shop\"(")
        }));
        assert_eq!(Table::new("public".to_owned(), "refinery_schema_history", true).create(), None);
        let row = table.insert(&file("V3__add_orders.sql", b"SELECT 1;").unwrap());
        assert!(row.contains("VALUES (3, 'add_orders', pg_catalog.to_char("), "{row}");
    }
}
