//! The server's own databases, `postgres` and `template1`. Every role may connect to them until that is taken back; before
//! PostgreSQL 15, and on servers that were upgraded from there, it may also create in their schema `public`.
//!
//! Tenants have no business there: in `postgres` the master works, and what a tenant makes or locks there is in its way; what it
//! makes in `template1` is in every database that is copied from it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use stack::Events;

use crate::quote::ident;
use crate::{ConnectOptions, Error, Login, Server, Session, connect};

/// Where the master works: advisory locks belong to a database, so that all take theirs in the same one.
const MAIN: &str = "postgres";
const TEMPLATE: &str = "template1";

/// How often rights are taken back that somebody else takes back at the same time.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(100);

/// A right that every role has in one of the server's own databases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Opening {
    /// The database.
    pub database: String,
    /// What every role may do there.
    pub right: Right,
    /// The role that can take it back.
    pub owner: String,
    /// Whether the session's role can as well.
    pub is_ours: bool,
}

/// What every role may do in a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Right {
    /// Connect to it.
    Connect,
    /// Create schemas in it.
    Create,
    /// Create in its schema `public`.
    CreateInPublic,
}

impl Opening {
    /// Returns the statement that takes it back, to be run in that database.
    pub fn revoke(&self) -> String {
        let database = ident(&self.database);
        match self.right {
            Right::Connect => format!("REVOKE CONNECT ON DATABASE {database} FROM PUBLIC"),
            Right::Create => format!("REVOKE CREATE ON DATABASE {database} FROM PUBLIC"),
            Right::CreateInPublic => "REVOKE CREATE ON SCHEMA public FROM PUBLIC".to_owned(),
        }
    }

    /// Returns what to do about it, with the command to type.
    pub fn mend(&self) -> String {
        if self.is_ours { "run `cargo xtask tenant create`".to_owned() } else { self.mend_by_hand() }
    }

    fn mend_by_hand(&self) -> String {
        format!(
            "run `{}` in `{}` as its owner `{}`, or as a superuser",
            self.revoke(),
            self.database,
            self.owner
        )
    }
}

impl fmt::Display for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let database = &self.database;
        match self.right {
            Right::Connect => write!(f, "every role may connect to `{database}`"),
            Right::Create => write!(f, "every role may create schemas in `{database}`"),
            Right::CreateInPublic => {
                write!(f, "every role may create in the schema `public` of `{database}`")
            }
        }
    }
}

/// The server's own databases as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grounds {
    /// What every role may do there.
    pub openings: Vec<Opening>,
    /// Roles that may log in, beside the master and the server's own: if there is none, nobody can use an opening.
    pub roles: i64,
}

/// Looks at the server's own databases, over a connection to each. Changes nothing.
///
/// # Errors
/// Those of [`connect`], and [`Error::Statement`].
pub async fn survey(server: &Server, admin: &Login) -> Result<Grounds, Error> {
    let login = Login { database: MAIN.to_owned(), ..admin.clone() };
    let session = connect(server, &login, &ConnectOptions::default()).await?;
    let grounds = look(server, admin, &session).await;
    session.close().await;
    grounds
}

/// As [`survey`], over a session in `postgres` that is there.
pub(crate) async fn look(server: &Server, admin: &Login, session: &Session) -> Result<Grounds, Error> {
    const ROLES: &str = "
        SELECT count(*) FROM pg_roles
        WHERE rolcanlogin AND NOT rolsuper AND rolname <> current_user AND rolname !~ '^(pg_|rds)'";
    let mut openings = openings(session).await?;
    let rows = session.query(ROLES, &[], "count the roles that may log in").await?;
    let roles = rows.first().map_or(0, |row| row.get(0));
    if let Some(template) = enter_template(server, admin).await? {
        let more = self::openings(&template).await;
        template.close().await;
        openings.extend(more?);
    }
    Ok(Grounds { openings, roles })
}

/// Takes back what every role may do in the server's own databases, and says what was taken back.
///
/// What the master cannot take back, or look at, is a warning: it stops no tenant's creation, and `tenant verify` and `doctor`
/// fail for it. `session` is one in `postgres`.
pub(crate) async fn close(server: &Server, admin: &Login, session: &Session, events: &Events) {
    let closed = async {
        close_one(session, events).await?;
        if let Some(template) = enter_template(server, admin).await? {
            let closed = close_one(&template, events).await;
            template.close().await;
            closed?;
        }
        Ok::<_, Error>(())
    };
    if let Err(error) = closed.await {
        events.warn(format!(
            "whether tenants can get at `{MAIN}` and `{TEMPLATE}` is not known: {}",
            error.chain()
        ));
    }
}

/// Connects to the template; nothing if it is not there, or closed to the master and so to everybody else.
async fn enter_template(server: &Server, admin: &Login) -> Result<Option<Session>, Error> {
    let login = Login { database: TEMPLATE.to_owned(), ..admin.clone() };
    match Box::pin(connect(server, &login, &ConnectOptions::default())).await {
        Ok(session) => Ok(Some(session)),
        Err(error) if matches!(error.sqlstate(), Some("42501" | "3D000" | "55000")) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns what every role may do in the session's database.
async fn openings(session: &Session) -> Result<Vec<Opening>, Error> {
    const SQL: &str = "
        SELECT current_database()::text, a.privilege_type, false, o.rolname::text, pg_has_role(d.datdba, 'USAGE')
        FROM pg_database d JOIN pg_roles o ON o.oid = d.datdba
        CROSS JOIN LATERAL aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
        WHERE d.datname = current_database() AND a.grantee = 0 AND a.privilege_type IN ('CONNECT', 'CREATE')
        UNION
        SELECT current_database()::text, a.privilege_type, true, o.rolname::text, pg_has_role(n.nspowner, 'USAGE')
        FROM pg_namespace n JOIN pg_roles o ON o.oid = n.nspowner
        CROSS JOIN LATERAL aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
        WHERE n.nspname = 'public' AND a.grantee = 0 AND a.privilege_type = 'CREATE'
        ORDER BY 3, 2";
    let rows = session.query(SQL, &[], "see what every role may do in the server's own databases").await?;
    let opening = |row: &tokio_postgres::Row| Opening {
        database: row.get(0),
        right: match (row.get(2), row.get::<_, &str>(1)) {
            (true, _) => Right::CreateInPublic,
            (false, "CONNECT") => Right::Connect,
            (false, _) => Right::Create,
        },
        owner: row.get(3),
        is_ours: row.get(4),
    };
    Ok(rows.iter().map(opening).collect())
}

/// Takes back what every role may do in the session's database.
async fn close_one(session: &Session, events: &Events) -> Result<(), Error> {
    let mut found = openings(session).await?;
    let ours: BTreeMap<String, String> =
        found.iter().filter(|one| one.is_ours).map(|one| (one.revoke(), one.to_string())).collect();
    if !ours.is_empty() {
        let sql = ours.keys().cloned().collect::<Vec<_>>().join("; ");
        let mut attempt = 1;
        while let Err(error) =
            session.execute(&sql, || "close the server's own databases to tenants".to_owned()).await
        {
            // "tuple concurrently updated": another run does the same.
            if error.sqlstate() != Some("XX000") || attempt == ATTEMPTS {
                return Err(error);
            }
            attempt += 1;
            tokio::time::sleep(PAUSE).await;
        }
        found = openings(session).await?;
        for (revoke, text) in ours {
            events.note(format!(
                "{text}: that was taken back (`{revoke}`); grant it by name to whom it is meant for"
            ));
        }
    }
    for left in found {
        events.warn(format!("{left}; {}", left.mend_by_hand()));
    }
    Ok(())
}
