//! Where a program of libpq's connects: as variables, which every driver reads, and as a connection string.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use db::Login;

/// Where to connect, and as whom.
#[derive(Clone, Debug)]
pub struct Libpq<'a> {
    /// The database, the role and its password.
    pub login: &'a Login,
    /// The way there.
    pub way: Way,
}

/// The local end that a program connects to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// A port, through which the program speaks TLS with the server.
    Port {
        /// The port on 127.0.0.1.
        port: u16,
        /// The name that the server's certificate must carry.
        host: String,
        /// The roots that it is checked against.
        roots: PathBuf,
    },
    /// A socket, behind which this program speaks TLS with the server.
    Socket {
        /// Its folder.
        dir: PathBuf,
        /// The number in its name.
        port: u16,
    },
}

impl Libpq<'_> {
    /// Returns all of libpq's variables that a program sees.
    ///
    /// SCRAM proves the password without telling it (libpq 16 and later obeys). Channel binding is asked for as far as the
    /// server offers it: the sandbox's, behind a TLS of its own, does not.
    pub(super) fn variables(&self) -> Vec<(&'static str, OsString)> {
        let rest = [
            ("PGPASSWORD", self.login.password.expose()),
            ("PGREQUIREAUTH", "scram-sha-256"),
            ("PGCHANNELBINDING", "prefer"),
        ];
        let shared = self.parameters().into_iter().map(|(_, variable, value)| (variable, value));
        shared.chain(rest.map(|(variable, value)| (variable, value.into()))).collect()
    }

    /// Returns the same as a connection string, without the password: others see what a program is started with.
    pub(super) fn conninfo(&self) -> String {
        let quoted = self.parameters().into_iter().map(|(keyword, _, value)| {
            let value = value.to_string_lossy().replace('\\', r"\\").replace('\'', r"\'");
            format!("{keyword}='{value}'")
        });
        quoted.collect::<Vec<_>>().join(" ")
    }

    /// Returns each parameter's keyword, variable and value (PostgreSQL, "Parameter Key Words").
    fn parameters(&self) -> Vec<(&'static str, &'static str, OsString)> {
        let path = |path: &Path| path.as_os_str().to_owned();
        let mut all = match &self.way {
            Way::Port { port, host, roots } => vec![
                ("host", "PGHOST", host.into()),
                ("hostaddr", "PGHOSTADDR", "127.0.0.1".into()),
                ("port", "PGPORT", port.to_string().into()),
                ("sslmode", "PGSSLMODE", "verify-full".into()),
                ("sslrootcert", "PGSSLROOTCERT", path(roots)),
            ],
            Way::Socket { dir, port } => vec![
                ("host", "PGHOST", path(dir)),
                ("port", "PGPORT", port.to_string().into()),
                ("sslmode", "PGSSLMODE", "disable".into()),
            ],
        };
        all.push(("user", "PGUSER", (&self.login.user).into()));
        all.push(("dbname", "PGDATABASE", (&self.login.database).into()));
        all
    }
}

#[cfg(test)]
mod tests {
    use stack::Secret;

    use super::*;

    #[test]
    fn a_connection_string_is_quoted_and_holds_no_password() {
        let login = Login {
            user: "o'app".to_owned(),
            password: Secret::new("secret"),
            database: r"a\b c".to_owned(),
        };
        let way = Way::Port { port: 7, host: "db.internal".to_owned(), roots: "/a b.pem".into() };
        let libpq = Libpq { login: &login, way };
        assert_eq!(
            libpq.conninfo(),
            "host='db.internal' hostaddr='127.0.0.1' port='7' sslmode='verify-full' sslrootcert='/a b.pem' \
             user='o\\'app' dbname='a\\\\b c'"
        );
        let variables = libpq.variables();
        assert!(variables.contains(&("PGDATABASE", r"a\b c".into())));
        assert!(variables.contains(&("PGPASSWORD", "secret".into())));
        let socket = Libpq { login: &login, way: Way::Socket { dir: "/run/x".into(), port: 5432 } };
        assert!(socket.variables().iter().all(|(name, _)| *name != "PGHOSTADDR" && *name != "PGSSLROOTCERT"));
    }
}
