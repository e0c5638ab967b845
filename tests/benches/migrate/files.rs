//! Migrations like real ones, and the same for each program that is measured.

use std::fs;
use std::path::{Path, PathBuf};

use db::Migration;
use db::migration;

/// How many a new tenant gets; one more is the new one.
pub(crate) const COUNT: usize = 20;

/// Returns the names, without version, and the text of the first `count` files.
fn texts(count: usize) -> impl Iterator<Item = (String, String)> {
    (1..=count).map(|n| {
        let of = n - (n - 1) % 5;
        match n % 5 {
            1 => (format!("create_t{n}"), table(n)),
            2 => (
                format!("index_t{of}"),
                format!(
                    "CREATE INDEX t{of}_by_day ON t{of} (happened_at);\n\
                     CREATE UNIQUE INDEX t{of}_by_name ON t{of} (lower(name));\n"
                ),
            ),
            3 => (
                format!("extend_t{of}"),
                format!(
                    "ALTER TABLE t{of} ADD COLUMN amount_cents bigint NOT NULL DEFAULT 0;\n\
                     ALTER TABLE t{of} ADD CONSTRAINT t{of}_amount CHECK (amount_cents >= 0);\n\
                     COMMENT ON COLUMN t{of}.amount_cents IS 'in the currency of the tenant';\n"
                ),
            ),
            4 => (
                format!("view_t{of}"),
                format!(
                    "CREATE VIEW t{of}_recent AS\n    SELECT id, name, amount_cents FROM t{of}\n    \
                     WHERE happened_at > now() - interval '30 days';\n"
                ),
            ),
            _ => (
                format!("fill_t{of}"),
                format!(
                    "INSERT INTO t{of} (name, amount_cents)\n    \
                     SELECT 'row ' || n, n * 100 FROM generate_series(1, 20) AS n;\n"
                ),
            ),
        }
    })
}

fn table(n: usize) -> String {
    let refers = if n > 5 { format!("REFERENCES t{} (id)", n - 5) } else { String::new() };
    format!(
        "CREATE TABLE t{n} (\n    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,\n    \
         parent bigint {refers},\n    name text NOT NULL,\n    \
         happened_at timestamptz NOT NULL DEFAULT now(),\n    detail jsonb\n);\n"
    )
}

/// Returns the first `count` files as the engine takes them.
pub(crate) fn migrations(count: usize) -> Vec<Migration> {
    let files = texts(count).enumerate();
    files
        .map(|(at, (name, sql))| {
            migration::parse(&format!("V{}__{name}.sql", at + 1), sql.as_bytes()).expect("the name fits")
        })
        .collect()
}

/// Returns the first `count` files as refinery's library takes them.
pub(crate) fn refinery(count: usize) -> Vec<refinery::Migration> {
    let files = texts(count).enumerate();
    files
        .map(|(at, (name, sql))| {
            refinery::Migration::unapplied(&format!("V{}__{name}", at + 1), &sql).expect("the name fits")
        })
        .collect()
}

/// How a program wants its files.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Layout {
    /// `V1__name.sql`
    Refinery,
    /// `001_name.sql`
    Sqlx,
    /// `001_name.sql`, and a comment above
    Dbmate,
}

/// Returns the files' names, in order.
pub(crate) fn names(layout: Layout, count: usize) -> impl Iterator<Item = String> {
    texts(count).enumerate().map(move |(at, (name, _))| match layout {
        Layout::Refinery => format!("V{}__{name}.sql", at + 1),
        // Both go by the number, dbmate by its text.
        Layout::Sqlx | Layout::Dbmate => format!("{:03}_{name}.sql", at + 1),
    })
}

/// Writes the first `count` files into a folder of their own, and returns it.
pub(crate) fn write(dir: &Path, layout: Layout, count: usize) -> PathBuf {
    let folder = dir.join(format!("{layout:?}-{count}"));
    fs::create_dir_all(&folder).expect("the folder can be made");
    for (name, (_, sql)) in names(layout, count).zip(texts(count)) {
        let sql = match layout {
            Layout::Refinery | Layout::Sqlx => sql,
            Layout::Dbmate => format!("-- migrate:up\n{sql}\n-- migrate:down\n"),
        };
        fs::write(folder.join(name), sql).expect("the file can be written");
    }
    folder
}
