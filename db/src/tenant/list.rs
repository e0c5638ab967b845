//! Lists the databases of a server as tenants, with their settings and rights.

use serde::Serialize;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::{ConnectOptions, Error, Login, Server, Session, connect};

/// What the server knows of a tenant's database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TenantInfo {
    /// The database's name.
    pub name: String,
    /// The role that owns it.
    pub owner: String,
    /// Its comment.
    pub purpose: Option<String>,
    /// `UTF8`.
    pub encoding: String,
    /// `LC_COLLATE`.
    pub collation: String,
    /// `LC_CTYPE`.
    pub ctype: String,
    /// Its size on disk; nothing if the session's role may not know.
    pub size_bytes: Option<i64>,
    /// Whether it takes connections at all.
    pub allows_connections: bool,
    /// Whether the server was cut off while it dropped it: its files may be gone, and nobody can connect any more.
    pub is_half_dropped: bool,
    /// Whether every role may connect.
    pub public_can_connect: bool,
    /// Roles beside the owner that were given CONNECT by name.
    pub others_can_connect: Vec<String>,
    /// Whether every role may create temporary tables in it.
    pub public_can_create_temporary: bool,
    /// Sessions that are open in it now.
    pub sessions: i64,
}

/// Returns every database but the server's own, by name.
///
/// # Errors
/// Those of [`connect`], and [`Error::Statement`].
pub async fn list(server: &Server, admin: &Login) -> Result<Vec<TenantInfo>, Error> {
    let session = connect(server, admin, &ConnectOptions::default()).await?;
    let tenants = observe(&session, None).await?;
    session.close().await;
    Ok(tenants)
}

/// Returns one database, or every one but the server's own.
pub(crate) async fn observe(session: &Session, only: Option<&str>) -> Result<Vec<TenantInfo>, Error> {
    // The size of a database that one may not connect to is an error, not a null.
    const SQL: &str = "
        SELECT d.datname::text, o.rolname::text, shobj_description(d.oid, 'pg_database'),
               pg_encoding_to_char(d.encoding)::text, d.datcollate::text, d.datctype::text,
               CASE WHEN has_database_privilege(d.oid, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'USAGE')
                    THEN pg_database_size(d.oid) END,
               d.datallowconn, p.can_connect, p.can_create_temporary,
               (SELECT count(*) FROM pg_stat_activity a WHERE a.datid = d.oid),
               ARRAY(SELECT g.rolname::text FROM aclexplode(d.datacl) a JOIN pg_roles g ON g.oid = a.grantee
                     WHERE a.privilege_type = 'CONNECT' AND a.grantee <> d.datdba ORDER BY 1),
               -- pg_database.h: DATCONNLIMIT_INVALID_DB, in every version since that of August 2023.
               d.datconnlimit = -2
        FROM pg_database d
        JOIN pg_roles o ON o.oid = d.datdba
        CROSS JOIN LATERAL (
            SELECT coalesce(bool_or(privilege_type = 'CONNECT'), false) AS can_connect,
                   coalesce(bool_or(privilege_type = 'TEMPORARY'), false) AS can_create_temporary
            FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) WHERE grantee = 0) p
        WHERE ($1::text IS NULL OR d.datname = $1)
          AND NOT d.datistemplate AND d.datname NOT IN ('postgres', 'rdsadmin')
        ORDER BY 1";
    let rows = session.query(SQL, &[(&only, Type::TEXT)], "list the databases").await?;
    Ok(rows.iter().map(parse).collect())
}

fn parse(row: &Row) -> TenantInfo {
    TenantInfo {
        name: row.get(0),
        owner: row.get(1),
        purpose: row.get(2),
        encoding: row.get(3),
        collation: row.get(4),
        ctype: row.get(5),
        size_bytes: row.get(6),
        allows_connections: row.get(7),
        public_can_connect: row.get(8),
        public_can_create_temporary: row.get(9),
        sessions: row.get(10),
        others_can_connect: row.get(11),
        is_half_dropped: row.get(12),
    }
}
