//! How much room the databases take on the server's disk.

use std::time::Duration;

use crate::{ConnectOptions, Error, Login, Server, connect};

/// Each file of each database is looked at: with thousands of them, what takes longer is not worth the wait.
const LIMIT: Duration = Duration::from_secs(5);

/// How much room the databases take. SQL shows no more: logs, temporary files and, but for monitors, the write-ahead log
/// lie on the same disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskUsage {
    /// What the databases take that may be looked at, and the write-ahead log if that may be.
    pub bytes: u64,
    /// How many databases may not be looked at.
    pub unknown: u64,
}

/// Returns how much room the databases take, within five seconds.
///
/// # Errors
/// Those of [`connect`], and [`Error::Statement`].
pub async fn find_usage(server: &Server, admin: &Login) -> Result<DiskUsage, Error> {
    // The size of a database that one may not connect to is an error, not a null.
    const SQL: &str = "
        WITH one AS (SELECT oid, has_database_privilege(oid, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'USAGE')
                                 AS is_open FROM pg_database)
        SELECT coalesce(sum(CASE WHEN is_open THEN pg_database_size(oid) END), 0)::int8,
               count(*) FILTER (WHERE NOT is_open)
        FROM one";
    const WAL: &str = "SELECT coalesce(sum(size), 0)::int8 FROM pg_ls_waldir()";
    let options = ConnectOptions { statement_timeout: Some(LIMIT), ..ConnectOptions::default() };
    let session = connect(server, admin, &options).await?;
    let seen = session.query(SQL, &[], "measure the databases").await;
    // Only monitors may, as RDS's master is one.
    let log = session.query(WAL, &[], "measure the write-ahead log").await;
    session.close().await;
    let log = log.ok().and_then(|rows| rows.first().map(|row| row.get::<_, i64>(0))).unwrap_or_default();
    let rows = seen?;
    let (bytes, unknown): (i64, i64) = rows.first().map_or((0, 0), |row| (row.get(0), row.get(1)));
    let positive = |number: i64| u64::try_from(number).unwrap_or_default();
    Ok(DiskUsage { bytes: positive(bytes) + positive(log), unknown: positive(unknown) })
}
