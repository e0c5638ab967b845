//! Names and text inside SQL. Nothing else in this crate puts a string of somebody else's into a statement.

use crate::Error;

/// The longest name that PostgreSQL keeps: it cuts longer ones in silence, and two of them may become one.
pub const MAX_NAME_BYTES: usize = 63;

/// Returns a name as SQL writes it: `"a""b"`.
pub fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Returns text as SQL writes it, whatever `standard_conforming_strings` says: `'it''s'`, `E'a\\b'`.
pub fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

/// Accepts a name for a tenant's database.
///
/// # Errors
/// [`Error::Name`] if PostgreSQL would cut or refuse it, or if it is one of the server's own.
pub fn check_database(name: &str) -> Result<(), Error> {
    let reserved = matches!(name, "postgres" | "template0" | "template1" | "rdsadmin");
    check(name, "database", reserved)
}

/// Accepts a name for a tenant's role.
///
/// # Errors
/// [`Error::Name`] if PostgreSQL would cut or refuse it, or if it is one of the server's own.
pub fn check_role(name: &str) -> Result<(), Error> {
    let words = ["public", "none", "postgres", "rdsadmin", "current_user", "current_role", "session_user"];
    let reserved =
        words.contains(&name) || ["pg_", "rds_", "rdsrep"].iter().any(|prefix| name.starts_with(prefix));
    check(name, "role", reserved)
}

fn check(name: &str, what: &'static str, reserved: bool) -> Result<(), Error> {
    let reason = if name.is_empty() {
        "it is empty"
    } else if name.len() > MAX_NAME_BYTES {
        "it is longer than 63 bytes"
    } else if name.chars().any(char::is_control) {
        "it holds a control character"
    } else if reserved {
        "it is the server's own"
    } else {
        return Ok(());
    };
    Err(Error::Name { name: name.escape_debug().collect(), what, reason })
}
