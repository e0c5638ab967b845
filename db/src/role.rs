//! Roles of tenants. PostgreSQL is given SCRAM verifiers, never a clear password.

use postgres_protocol::password::scram_sha_256;
use stack::Secret;
use stack::spec::clone_of;
use tokio_postgres::types::Type;

use crate::quote::{ident, literal};
use crate::session::{ConnectOptions, Session, connect};
use crate::{Error, Login, Server};

/// What the server knows of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Whether it may log in.
    pub can_login: bool,
    /// Whether it may do everything.
    pub superuser: bool,
    /// Whether it may create databases.
    pub create_db: bool,
    /// Whether it may create roles.
    pub create_role: bool,
    /// Whether it may replicate.
    pub replication: bool,
    /// Whether row security does not bind it.
    pub bypass_rls: bool,
    /// Whether its password is past its date.
    pub expired: bool,
    /// The roles that it is a member of, directly.
    pub member_of: Vec<String>,
}

impl Role {
    /// Returns what it may do that a tenant's role must not, and what the master cannot take back.
    pub fn excess(&self) -> Vec<String> {
        let mut excess: Vec<String> = [
            (self.superuser, "superuser"),
            (self.replication, "may replicate"),
            (self.bypass_rls, "bypasses row security"),
        ]
        .into_iter()
        .filter(|(has, _)| *has)
        .map(|(_, text)| text.to_owned())
        .collect();
        excess.extend(self.member_of.iter().map(|role| format!("member of `{role}`")));
        excess
    }
}

/// Returns a role, or nothing if the server has none of that name.
///
/// # Errors
/// [`Error::Statement`] if the server does not answer.
pub async fn find(session: &Session, name: &str) -> Result<Option<Role>, Error> {
    const SQL: &str = "
        SELECT rolcanlogin, rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls,
               coalesce(rolvaliduntil < now(), false),
               ARRAY(SELECT g.rolname::text FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
                     WHERE m.member = r.oid ORDER BY 1)
        FROM pg_roles r WHERE rolname = $1";
    let rows = session.query(SQL, &[(&name, Type::TEXT)], "look at the roles").await?;
    Ok(rows.first().map(|row| Role {
        can_login: row.get(0),
        superuser: row.get(1),
        create_db: row.get(2),
        create_role: row.get(3),
        replication: row.get(4),
        bypass_rls: row.get(5),
        expired: row.get(6),
        member_of: row.get(7),
    }))
}

/// Returns the role that the session acts as.
pub(crate) async fn current(session: &Session) -> Result<String, Error> {
    let rows = session.query("SELECT current_user::text", &[], "see whom the session acts as").await?;
    Ok(rows.first().map(|row| row.get(0)).unwrap_or_default())
}

/// Creates a role that may log in and nothing else, and cannot yet without a password; `false` if somebody else was
/// quicker.
pub(crate) async fn create(session: &Session, name: &str, password: Option<&Secret>) -> Result<bool, Error> {
    let password = password.map_or_else(|| "NULL".to_owned(), |password| literal(&verifier(password)));
    let sql = format!("CREATE ROLE {} LOGIN NOCREATEDB NOCREATEROLE PASSWORD {password}", ident(name));
    match session.execute(&sql, || format!("create role `{name}`")).await {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.sqlstate(), Some("42710" | "23505")) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Gives a role back what a tenant's role must have; returns what was wrong.
pub(crate) async fn repair(session: &Session, name: &str, seen: &Role) -> Result<Vec<String>, Error> {
    let wrong: Vec<(&str, &str)> = [
        (!seen.can_login, "LOGIN", "role may log in"),
        (seen.create_db, "NOCREATEDB", "role may no longer create databases"),
        (seen.create_role, "NOCREATEROLE", "role may no longer create roles"),
        (seen.expired, "VALID UNTIL 'infinity'", "password no longer expired"),
    ]
    .into_iter()
    .filter_map(|(is_wrong, sql, text)| is_wrong.then_some((sql, text)))
    .collect();
    if wrong.is_empty() {
        return Ok(Vec::new());
    }
    let options: Vec<&str> = wrong.iter().map(|(sql, _)| *sql).collect();
    let sql = format!("ALTER ROLE {} {}", ident(name), options.join(" "));
    session.execute(&sql, || format!("repair role `{name}`")).await?;
    Ok(wrong.into_iter().map(|(_, text)| text.to_owned()).collect())
}

/// Sets a role's password. Sessions that are open stay open.
///
/// # Errors
/// [`Error::Statement`] if the session's role may not do that.
pub async fn set_password(session: &Session, name: &str, password: &Secret) -> Result<(), Error> {
    let sql = format!("ALTER ROLE {} PASSWORD {}", ident(name), literal(&verifier(password)));
    session.execute(&sql, || format!("set the password of role `{name}`")).await
}

/// Gives a role a second user with that password, or gives the one that it has that password.
///
/// The clone is a member of the role and acts as it from its first statement on: the rights are the same, and whatever it
/// makes is the role's. One message and so one transaction: a clone that logs in is a whole one.
///
/// # Errors
/// [`Error::Statement`] if the session's role may not do that.
pub async fn ensure_clone(session: &Session, owner: &str, password: &Secret) -> Result<(), Error> {
    let name = clone_of(owner);
    let (verb, options) = match find(session, &name).await? {
        None => ("CREATE", "NOCREATEDB NOCREATEROLE "),
        Some(role) if role.member_of == [owner] && role.excess().len() == 1 => ("ALTER", ""),
        Some(_) => {
            let reason = format!("there is a role `{name}`, and it is not its second user");
            return Err(Error::Spec { tenant: owner.to_owned(), reason });
        }
    };
    let clone = ident(&name);
    let sql = format!(
        "{verb} ROLE {clone} LOGIN {options}PASSWORD {}; GRANT {} TO {clone}; ALTER ROLE {clone} SET role = {}",
        literal(&verifier(password)),
        ident(owner),
        literal(owner),
    );
    session.execute(&sql, || format!("set the password of role `{name}`")).await
}

/// Returns whether the role has a second user: a member of it, by that name.
///
/// # Errors
/// [`Error::Statement`] if the server does not answer.
pub async fn has_clone(session: &Session, owner: &str) -> Result<bool, Error> {
    let clone = find(session, &clone_of(owner)).await?;
    Ok(clone.is_some_and(|clone| clone.member_of == [owner]))
}

/// Sets a role's password, and takes away that of its clone, which nobody is told any more.
///
/// # Errors
/// [`Error::Statement`] if the session's role may not do that.
pub async fn set_only_password(session: &Session, owner: &str, password: &Secret) -> Result<(), Error> {
    if has_clone(session, owner).await? {
        let clone = clone_of(owner);
        let sql = format!("ALTER ROLE {} NOLOGIN PASSWORD NULL", ident(&clone));
        session.execute(&sql, || format!("take away the password of role `{clone}`")).await?;
    }
    set_password(session, owner, password).await
}

/// What a login proved about a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordCheck {
    /// The server accepted it.
    Right,
    /// The server refused it.
    Wrong,
    /// The server asks for no proof of it: for none at all, or for what gives it away, which it was not told.
    Unproved,
}

/// Logs in to see whether the password is right. The database may be missing or closed to the role: the server
/// looks at the password first.
///
/// # Errors
/// Every error but the server's verdict on the password.
pub async fn check_password(
    server: &Server,
    login: &Login,
    options: &ConnectOptions,
) -> Result<PasswordCheck, Error> {
    match connect(server, login, options).await {
        Ok(session) => {
            session.close().await;
            Ok(PasswordCheck::Right)
        }
        Err(Error::Unproved { .. }) => Ok(PasswordCheck::Unproved),
        Err(error) => match error.sqlstate() {
            Some("28P01") => Ok(PasswordCheck::Wrong),
            Some("3D000" | "42501") => Ok(PasswordCheck::Right),
            _ => Err(error),
        },
    }
}

/// Returns the SCRAM-SHA-256 verifier of a password, with a fresh salt: what the server stores.
pub fn verifier(password: &Secret) -> String {
    scram_sha_256(password.expose().as_bytes())
}
