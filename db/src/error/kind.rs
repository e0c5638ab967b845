//! The sorts of failure.

/// What sort of failure it is; `deploy` makes an exit code of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The configuration or the files are wrong; the server was not asked.
    Usage,
    /// The stream, TLS or the connection broke.
    Unreachable,
    /// The server refused the login or the right to do it.
    Permission,
    /// Somebody else holds the lock.
    Locked,
    /// Everything else: a statement or a migration failed.
    Failed,
}
