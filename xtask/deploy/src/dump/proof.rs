//! Proof that a file is a dump of a database, and of all its tables, before the database goes.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::process::Stdio;

use db::tenant::Tables;
use sha2::{Digest, Sha256};

use crate::child;

/// `pg_class`: what a table's entry names as the catalog that it is from.
const CLASS: &str = "1259";

/// What a dump holds, as pg_restore reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    database: String,
    /// The numbers of the tables.
    tables: HashSet<u32>,
    /// The numbers of those whose rows are there as well.
    rows: HashSet<u32>,
}

impl Contents {
    /// Has pg_restore read the dump's table of contents.
    ///
    /// # Errors
    /// It cannot be run, or cannot read the file; in words.
    pub(super) async fn read(pg_restore: &Path, dump: &Path) -> Result<Contents, String> {
        let mut command = child::command(pg_restore);
        command.arg("--list").arg(dump).stdin(Stdio::null()).kill_on_drop(true);
        let output = command.output().await.map_err(|error| format!("pg_restore cannot be run: {error}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let said: String = said.trim().chars().take(200).flat_map(char::escape_debug).collect();
            return Err(format!("pg_restore cannot read the dump ({}): {said}", output.status));
        }
        Ok(Contents::parse(&String::from_utf8_lossy(&output.stdout)))
    }

    /// Reads what `pg_restore --list` prints: a header of comments, and a line for each entry,
    /// `217; 1259 16385 TABLE public product owner` or `3456; 0 16385 TABLE DATA public product owner`.
    ///
    /// Names come last and have no line breaks, so that nothing in them is taken for an entry.
    fn parse(list: &str) -> Contents {
        let mut contents = Contents::default();
        let mut header = list.lines().take_while(|line| line.starts_with(';'));
        let database = header.find_map(|line| line.strip_prefix(";     dbname: "));
        database.unwrap_or_default().clone_into(&mut contents.database);
        for line in list.lines().filter(|line| !line.starts_with(';')) {
            let Some((_, rest)) = line.split_once("; ") else { continue };
            let mut words = rest.splitn(3, ' ');
            let (Some(catalog), Some(oid), Some(what)) = (words.next(), words.next(), words.next()) else {
                continue;
            };
            let Ok(oid) = oid.parse() else { continue };
            if catalog == CLASS && what.starts_with("TABLE ") {
                contents.tables.insert(oid);
            } else if catalog == "0" && what.starts_with("TABLE DATA ") {
                contents.rows.insert(oid);
            }
        }
        contents
    }

    /// Compares with the database as it is now.
    ///
    /// # Errors
    /// It is another database's dump, or one that lacks a table or a table's rows; in words.
    pub(super) fn prove(&self, database: &str, live: &Tables) -> Result<(), String> {
        if self.database != database || live.database != database {
            let other = if self.database == database { &live.database } else { &self.database };
            let other: String = other.chars().take(63).flat_map(char::escape_debug).collect();
            return Err(format!("the dump is of database `{other}`, not of `{database}`"));
        }
        let is_there = |table: &&db::tenant::Table| {
            self.tables.contains(&table.oid) && (!table.holds_rows || self.rows.contains(&table.oid))
        };
        let lacking = live.tables.len() - live.tables.iter().filter(is_there).count();
        if lacking > 0 {
            return Err(format!(
                "the dump lacks {lacking} of its {} tables, or their rows",
                live.tables.len()
            ));
        }
        Ok(())
    }
}

/// Returns a file's SHA-256 in hexadecimal digits, as `sha256sum` prints it. Blocks.
///
/// # Errors
/// The file cannot be read.
pub(super) fn digest(path: &Path) -> io::Result<String> {
    let (mut file, mut hash, mut buffer) = (File::open(path)?, Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => hash.update(&buffer[..read]),
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use db::tenant::Table;

    use super::*;

    const LIST: &str = "\
;
; Archive created at 2026-11-30 12:00:00 UTC
;     dbname: shop
;     TOC Entries: 9
;
;     dbname: other
; Selected TOC Entries:
;
217; 1259 16385 TABLE public product app
218; 1259 16390 TABLE public line_2026 app
219; 1259 16395 TABLE DATA rows app
3350; 0 0 TABLE ATTACH public line_2026 app
220; 1259 16400 VIEW public TABLE app
221; 1259 16402 SEQUENCE public n app
3460; 0 16385 TABLE DATA public product app
3461; 0 16390 TABLE DATA public line_2026 app
";

    fn live(tables: &[(u32, bool)]) -> Tables {
        let tables = tables.iter().map(|(oid, holds_rows)| Table { oid: *oid, holds_rows: *holds_rows });
        Tables { database: "shop".to_owned(), tables: tables.collect() }
    }

    #[test]
    fn a_dump_is_the_databases_and_has_its_tables_and_their_rows() {
        let contents = Contents::parse(LIST);
        assert_eq!(contents.database, "shop");
        assert_eq!(contents.tables, [16385, 16390, 16395].into());
        assert_eq!(contents.rows, [16385, 16390].into());
        let prove = |tables: &[(u32, bool)]| contents.prove("shop", &live(tables));
        assert_eq!(prove(&[]), Ok(()));
        assert_eq!(prove(&[(16385, true), (16390, true), (16395, false)]), Ok(()));
        let lacks = |count, all| Err(format!("the dump lacks {count} of its {all} tables, or their rows"));
        assert_eq!(prove(&[(16385, true), (16395, true)]), lacks(1, 2));
        assert_eq!(prove(&[(16402, false), (16400, false), (7, true)]), lacks(3, 3));
        let other = Err("the dump is of database `shop`, not of `health`".to_owned());
        assert_eq!(contents.prove("health", &Tables { database: "health".to_owned(), ..live(&[]) }), other);
        assert!(Contents::parse("").prove("shop", &live(&[])).is_err());
    }
}
