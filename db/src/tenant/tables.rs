//! What a dump of a tenant's database must hold.

use std::time::Duration;

use crate::{ConnectOptions, Error, Login, Server, connect};

/// How long the look may take.
const LIMIT: Duration = Duration::from_secs(60);

/// The tables of a database, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    /// The database's name, as the server says it.
    pub database: String,
    /// Each of them.
    pub tables: Vec<Table>,
}

/// A table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its number in `pg_class`.
    pub oid: u32,
    /// Whether it can hold rows itself; one that is partitioned cannot.
    pub holds_rows: bool,
}

/// Returns the tables of the login's database that a dump has: no temporary ones, none of an extension or of the server itself.
///
/// # Errors
/// Those of [`connect`], and [`Error::Statement`].
pub async fn tables(server: &Server, login: &Login) -> Result<Tables, Error> {
    // The database is a tenant's, whose own operators and settings must not have a say.
    const SQL: &str = "
        SELECT c.oid, c.relkind OPERATOR(pg_catalog.=) 'r'::pg_catalog.\"char\"
        FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
        WHERE c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p}'::pg_catalog.\"char\"[])
        AND c.relpersistence OPERATOR(pg_catalog.<>) 't'::pg_catalog.\"char\"
        AND n.nspname OPERATOR(pg_catalog.<>) 'information_schema'::pg_catalog.name
        AND NOT pg_catalog.starts_with(n.nspname::pg_catalog.text, 'pg_'::pg_catalog.text)
        AND NOT EXISTS (
            SELECT FROM pg_catalog.pg_depend d
            WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid
            AND d.objid OPERATOR(pg_catalog.=) c.oid AND d.deptype OPERATOR(pg_catalog.=) 'e'::pg_catalog.\"char\"
        )";
    const DATABASE: &str = "SELECT pg_catalog.current_database()::pg_catalog.text";
    let limit = Some(LIMIT);
    let options =
        ConnectOptions { lock_timeout: limit, statement_timeout: limit, ..ConnectOptions::default() };
    let session = connect(server, login, &options).await?;
    let looked = async {
        let database = session.query(DATABASE, &[], "see which database this is").await?;
        let rows = session.query(SQL, &[], "list the database's tables").await?;
        let tables = rows.iter().map(|row| Table { oid: row.get(0), holds_rows: row.get(1) }).collect();
        Ok(Tables { database: database.first().map(|row| row.get(0)).unwrap_or_default(), tables })
    };
    let looked = looked.await;
    session.close().await;
    looked
}
