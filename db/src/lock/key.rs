//! The locks themselves, and the SQL that takes and proves them.

/// A lock that belongs to a session, in the database that the session is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    /// What it is for, in words.
    pub name: &'static str,
    pub(super) key: i64,
}

impl Lock {
    /// Returns a statement that fails with [`NOT_HELD`] unless its own backend holds the lock: a pooler in between
    /// may have sent the transaction to another one.
    ///
    /// Only the holder can give a lock back. While the statement does so, a lock of the transaction's own keeps others out;
    /// it ends with the transaction. `pg_locks` would tell as well, but it visits every lock of the server.
    pub(crate) fn guard(self) -> String {
        let key = self.key;
        format!(
            "SELECT 1 OPERATOR(pg_catalog./) CASE WHEN NOT pg_catalog.pg_try_advisory_xact_lock({key}) THEN 0 \
             WHEN NOT pg_catalog.pg_advisory_unlock({key}) THEN 0 \
             ELSE pg_catalog.pg_try_advisory_lock({key})::int END"
        )
    }

    /// Returns the statements that give the lock back after any failure: a message that is cut short leaves its transaction
    /// open.
    pub(crate) fn give_back_sql(self) -> String {
        format!("ROLLBACK; SELECT pg_catalog.pg_advisory_unlock({})", self.key)
    }

    /// Returns a query that takes the lock, if nobody else holds it, and says so.
    pub(crate) fn try_sql(self) -> String {
        format!("SELECT pg_catalog.pg_try_advisory_lock({})", self.key)
    }
}

/// What [`Lock::guard`] fails with: a division by zero.
pub(crate) const NOT_HELD: &str = "22012";

/// Conditions on `pg_locks l`: an advisory lock that is held, in the session's own database, and its number.
pub(super) const ADVISORY: &str = "l.locktype = 'advisory' AND l.granted AND l.objsubid = 1";
pub(super) const HERE: &str = "l.database = (SELECT oid FROM pg_database WHERE datname = current_database())";
pub(super) const KEY: &str = "(l.classid::int8 << 32) | l.objid::int8";

/// Held in `postgres`: shared by all who create or drop tenants, alone while passwords are rotated, which those set as well.
pub const TENANTS: Lock = Lock { name: "tenants and their roles", key: 0x6472_6177_0000_0001 };

/// Held in a tenant's database while it is migrated.
pub const MIGRATIONS: Lock = Lock { name: "migrations", key: 0x6472_6177_0000_0002 };

/// Held in `postgres` while the table of runs is created.
pub const RUNS: Lock = Lock { name: "the table of runs", key: 0x6472_6177_0000_0003 };

/// Held in `postgres` by a release, from before it creates tenants until they are verified.
pub const RELEASE: Lock = Lock { name: "the release", key: 0x6472_6177_0000_0010 };

impl Lock {
    /// Returns the lock of one role, held in `postgres` while a tenant of it is created or dropped: tenants may share one.
    pub fn role(name: &str) -> Lock {
        Lock { name: "the role", key: key(b'r', name) }
    }

    /// Returns the lock of one database, held in `postgres` while it is created or dropped. Whoever takes a role's lock as
    /// well takes that first.
    pub fn database(name: &str) -> Lock {
        Lock { name: "the database", key: key(b'd', name) }
    }
}

/// Returns the key of a name: the mark of our locks, and 48 bits of the name's hash. Two names with the same key only wait
/// for each other, which is rare.
fn key(kind: u8, name: &str) -> i64 {
    let hash = crate::hash::of(std::iter::once(kind).chain(name.bytes()));
    0x6472_0000_0000_0000 | i64::try_from(hash >> 16).expect("invariant: 48 bits are left")
}
