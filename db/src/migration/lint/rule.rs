//! Every rule of the lint: its name, what such a statement does, and what to write instead.

use serde::Serialize;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// It works, with a cost that is easily missed.
    Warning,
    /// It cannot work, keeps readers or writers out for as long as a table is large, or loses data.
    Error,
}

impl std::fmt::Display for Severity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}

/// One thing that is looked for.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// Its name in findings and in `-- drawbridge: allow <id>`.
    pub id: &'static str,
    /// How bad a finding is.
    pub severity: Severity,
    /// What such a statement does to a live table.
    pub effect: &'static str,
    /// What to write instead.
    pub instead: &'static str,
}

macro_rules! rules {
    ($($name:ident $severity:ident $id:literal, $effect:literal, $instead:literal;)*) => {
        $(pub(super) const $name: &Rule =
            &Rule { id: $id, severity: Severity::$severity, effect: $effect, instead: $instead };)*

        /// Every rule.
        pub const RULES: &[&Rule] = &[$($name),*];
    };
}

rules! {
    ALTER_COLUMN_TYPE Error "alter-column-type",
        "rewrites the table and its indexes under ACCESS EXCLUSIVE: nobody reads or writes until it is done",
        "add a column of the new type, fill it in batches, and let the application move over";
    ADD_COLUMN_NOT_NULL Error "add-column-not-null",
        "fails on every table that has a row",
        "give the column a constant DEFAULT, or add it nullable and fill it first";
    ADD_COLUMN_VOLATILE_DEFAULT Error "add-column-volatile-default",
        "computes a value for each row: rewrites the table under ACCESS EXCLUSIVE",
        "add the column without a default, SET DEFAULT for new rows, and fill the old ones in batches";
    SET_NOT_NULL Error "set-not-null",
        "reads the whole table under ACCESS EXCLUSIVE",
        "add CHECK (.. IS NOT NULL) NOT VALID, VALIDATE it in a later transaction, then SET NOT NULL, which reads nothing";
    CREATE_INDEX Error "create-index",
        "keeps all writers out until the index is built",
        "CREATE INDEX CONCURRENTLY in a file of its own with `-- drawbridge: no-transaction` on its first line";
    DROP_INDEX Warning "drop-index",
        "waits for every query on the table and makes all others wait behind it",
        "DROP INDEX CONCURRENTLY in a file of its own with `-- drawbridge: no-transaction` on its first line";
    REINDEX Error "reindex",
        "keeps all writers out until the index is built, and readers that would use it",
        "REINDEX .. CONCURRENTLY in a file of its own with `-- drawbridge: no-transaction` on its first line";
    ADD_FOREIGN_KEY Error "add-foreign-key",
        "keeps writers out of both tables while every row is checked",
        "add it NOT VALID, and VALIDATE CONSTRAINT in a later transaction";
    ADD_CHECK Error "add-check",
        "reads the whole table under ACCESS EXCLUSIVE",
        "add it NOT VALID, and VALIDATE CONSTRAINT in a later transaction";
    ADD_UNIQUE Error "add-unique",
        "builds an index under ACCESS EXCLUSIVE: nobody reads or writes until it is done",
        "CREATE UNIQUE INDEX CONCURRENTLY first, then ADD CONSTRAINT .. UNIQUE (or PRIMARY KEY) USING INDEX";
    VALIDATE_WITH_ADD Warning "validate-with-add",
        "validates under the lock that adding the constraint took and keeps until the transaction ends",
        "move VALIDATE CONSTRAINT to a file with `-- drawbridge: own-transaction` on its first line";
    REWRITE_TABLE Error "rewrite-table",
        "writes the whole table anew under ACCESS EXCLUSIVE",
        "leave it to a maintenance window, or use pg_repack";
    RENAME_COLUMN Warning "rename-column",
        "breaks every program that still uses the old name, at once",
        "add a column of the new name, write both, and drop the old one when nobody uses it";
    RENAME_TABLE Warning "rename-table",
        "breaks every program that still uses the old name, at once",
        "leave an updatable view of the old name behind in the same transaction";
    DROP_COLUMN Error "drop-column",
        "loses its data for good, and breaks every program that still reads it",
        "stop using the column first; then allow it here";
    DROP_TABLE Error "drop-table",
        "loses the data for good, and breaks every program that still reads it",
        "stop using it first and keep a dump; then allow it here";
    TRUNCATE Error "truncate",
        "loses every row for good, under ACCESS EXCLUSIVE",
        "delete what is meant in batches, or allow it here";
    OUTSIDE_TRANSACTION Error "outside-transaction",
        "fails: PostgreSQL refuses it inside of a transaction",
        "put it into a file of its own with `-- drawbridge: no-transaction` on its first line";
    ENUM_VALUE_IN_USE Error "enum-value-in-use",
        "fails: a value that ALTER TYPE .. ADD VALUE adds cannot be used before its transaction is committed",
        "put this into a later file with `-- drawbridge: own-transaction` on its first line";
    LOCK_TABLE Warning "lock-table",
        "makes others wait until the transaction ends, with all that is applied in it",
        "let each statement take the lock that it needs";
    SEVERAL_STATEMENTS Warning "several-statements",
        "stays half-done if a later statement fails: nothing is rolled back without a transaction",
        "one statement to a file with `-- drawbridge: no-transaction`, so that a run can go on from there";
    SESSION_SETTING Warning "session-setting",
        "outlives its file wherever another program than this one applies it, and changes what later files do",
        "SET LOCAL, which ends with the transaction, or a qualified name";
    BAD_COMMENT Error "bad-comment",
        "does nothing: neither a known marker on the first line nor an exemption before a statement",
        "`-- drawbridge: allow RULE[, RULE]` on a line of its own right before the statement";
}
