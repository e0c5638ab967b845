//! Why something with the databases failed.

mod cause;
mod kind;
mod meaning;
mod recorded;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

pub use self::cause::{Cause, Refusal};
pub use self::kind::Kind;
pub use self::recorded::Recorded;

/// Why something with the databases failed. Never holds a password or the text of a statement.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bundle of certificates cannot be used.
    #[error("cannot use the bundle of certificates: {reason}")]
    Roots {
        /// What is wrong with it.
        reason: String,
    },
    /// A name that PostgreSQL would cut, refuse or take for something else.
    #[error("`{name}` cannot be the name of a {what}: {reason}")]
    Name {
        /// The name.
        name: String,
        /// `database`, `role`.
        what: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The tenants as configured contradict each other.
    #[error("tenant `{tenant}`: {reason}")]
    Spec {
        /// The tenant.
        tenant: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What a query lists as tenants cannot be.
    #[error("the tenants' query{}: {reason}", at_row(*row, field.as_deref()))]
    Registry {
        /// The row, counted from 1, if one row is wrong.
        row: Option<usize>,
        /// The column, if one is wrong.
        field: Option<String>,
        /// What is wrong with it.
        reason: String,
    },
    /// Files that refinery would skip, misread or apply twice.
    #[error("the migrations in `{}` cannot be used: {}", dir.display(), problems.join("; "))]
    Migrations {
        /// The directory.
        dir: PathBuf,
        /// Every problem, each with the file's name.
        problems: Vec<String>,
    },
    /// A link leads out of the repository that it lies in: what is there is somebody else's.
    #[error("`{}` leads out of its repository, to `{}`", path.display(), target.display())]
    LeadsOut {
        /// What was to be read or written.
        path: PathBuf,
        /// Where that is.
        target: PathBuf,
    },
    /// There is no such set of migrations.
    #[error("there is no set of migrations {name} in `{}`; {}", dir.display(), known_sets(known))]
    Set {
        /// The directory of all sets.
        dir: PathBuf,
        /// The set, quoted.
        name: String,
        /// Those that are there.
        known: Vec<String>,
    },
    /// A directory or a file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// What was to be read.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// No byte stream to the server.
    #[error("cannot reach `{host}`")]
    Dial {
        /// The server's name.
        host: String,
        /// The tunnel's error.
        #[source]
        source: io::Error,
    },
    /// The stream leads to a server, but not to a verified one.
    #[error("no verified TLS connection to `{host}`")]
    Tls {
        /// The name that the certificate must carry.
        host: String,
        /// The handshake's error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server did not let us in.
    #[error("cannot connect to database `{database}` as `{user}`")]
    Connect {
        /// The database.
        database: String,
        /// The role.
        user: String,
        /// What the server said.
        #[source]
        source: Cause,
    },
    /// The server asks for the password in a way that gives it away, or not at all; it was told nothing.
    #[error("cannot log in to database `{database}` as `{user}`: {reason}; only {} is answered", crate::AUTH)]
    Unproved {
        /// The database.
        database: String,
        /// The role.
        user: String,
        /// How it asks.
        reason: &'static str,
    },
    /// Nothing came back.
    #[error("no connection to `{host}` within {:.1} s", limit.as_secs_f32())]
    TimedOut {
        /// The server's name.
        host: String,
        /// How long we waited.
        limit: Duration,
    },
    /// The server did not answer a question that is answered in a moment: what the tenant has made there takes its time.
    #[error("cannot {doing} within {:.0} s: the database of `{tenant}` takes its time to answer", limit.as_secs_f32())]
    Slow {
        /// The tenant.
        tenant: String,
        /// What it was to do: `read the history`.
        doing: &'static str,
        /// How long we waited.
        limit: Duration,
    },
    /// A statement failed.
    #[error("cannot {doing}")]
    Statement {
        /// What it was to do: `create role `app``.
        doing: String,
        /// What the server said.
        #[source]
        source: Cause,
    },
    /// Somebody else holds the lock for too long.
    #[error("the lock for {lock} is held by {holder}, still after {:.1} s", waited.as_secs_f32())]
    Locked {
        /// What the lock is for.
        lock: &'static str,
        /// Who holds it: pid, role, application.
        holder: String,
        /// How long we waited.
        waited: Duration,
    },
    /// The lock was not ours when we gave it back: something between us and the server shares connections.
    #[error("the lock for {lock} was lost on the way; is there a connection pooler in between")]
    LockLost {
        /// What the lock is for.
        lock: &'static str,
    },
    /// The history table holds something that refinery did not write.
    #[error("a row of `{table}` cannot be read: {reason}")]
    History {
        /// The table.
        table: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The history is not where the role's `search_path` leads, or there are several: what was applied would be applied
    /// again.
    #[error("the history of `{tenant}` is not in one place: {problem}; {mend}")]
    Misplaced {
        /// The tenant.
        tenant: String,
        /// Where the history is, and where it is looked for.
        problem: String,
        /// What to do about it, with the command to type.
        mend: String,
    },
    /// The database and the files tell different stories.
    #[error("the history of `{tenant}` does not fit the files: {}", problems.join("; "))]
    Diverged {
        /// The tenant.
        tenant: String,
        /// Every difference, each with its migration.
        problems: Vec<String>,
    },
    /// A migration failed and was rolled back.
    #[error("migration `{migration}` of tenant `{tenant}` failed{}", at_line(*line))]
    Migration {
        /// The tenant.
        tenant: String,
        /// The migration, as its file is named.
        migration: String,
        /// The line of its file, where PostgreSQL tells one.
        line: Option<usize>,
        /// What the server said.
        #[source]
        source: Cause,
    },
    /// The connection broke before the server had said how a transaction ended. The next run sees what it did.
    #[error("the connection broke while tenant `{tenant}` was migrated")]
    Lost {
        /// The tenant.
        tenant: String,
        /// The migration whose answer was next.
        migration: Option<String>,
        /// How it broke.
        #[source]
        source: Cause,
    },
    /// A migration that runs outside of a transaction stopped on its way, and is not recorded.
    #[error(
        "migration `{migration}` of tenant `{tenant}` stopped{}; it runs outside of a transaction: what it did \
         before stays, and it is not recorded{}", at_line(*line), leftovers(invalid)
    )]
    Unfinished {
        /// The tenant.
        tenant: String,
        /// The migration, as its file is named.
        migration: String,
        /// The line of its file that the statement begins in, or a closer one where PostgreSQL tells it.
        line: Option<usize>,
        /// What removes each index that it left invalid: `DROP INDEX CONCURRENTLY "public"."a"`.
        invalid: Vec<String>,
        /// What the server said.
        #[source]
        source: Cause,
    },
    /// A migration ran to its end, but an index that it names cannot be used: `IF NOT EXISTS` passed over it.
    #[error("migration `{migration}` of tenant `{tenant}` is not recorded{}", leftovers(invalid))]
    InvalidIndex {
        /// The tenant.
        tenant: String,
        /// The migration, as its file is named.
        migration: String,
        /// What removes each of them.
        invalid: Vec<String>,
    },
    /// Everything was accepted, and yet the history does not show it.
    #[error("the migrations of tenant `{tenant}` were sent and are not all recorded afterwards")]
    NotRecorded {
        /// The tenant.
        tenant: String,
    },
    /// A program that takes no lock of ours recorded the same migration at the same time. Nothing of ours stays.
    #[error("another program migrates tenant `{tenant}` at the same time")]
    HistoryConflict {
        /// The tenant.
        tenant: String,
    },
    /// The tenant's role lacks a right, found before anything was written.
    #[error("role `{role}` cannot migrate tenant `{tenant}`: {reason}")]
    Forbidden {
        /// The tenant.
        tenant: String,
        /// The role.
        role: String,
        /// The right that it lacks, and the statement that gives it.
        reason: String,
    },
    /// There is no login to the tenant's database: its role's secret cannot be had.
    #[error("nobody can log in to tenant `{tenant}`: {reason}")]
    NoLogin {
        /// The tenant.
        tenant: String,
        /// What is wrong with the secret, and the command that mends it.
        reason: String,
    },
    /// The run was told to stop before this tenant was through.
    #[error("tenant `{tenant}` was interrupted; {state}")]
    Interrupted {
        /// The tenant.
        tenant: String,
        /// What is known of what was in flight.
        state: String,
    },
    /// What the command asks for does not fit the history that is there.
    #[error("tenant `{tenant}`: {reason}")]
    Unfit {
        /// The tenant.
        tenant: String,
        /// What stands in the way.
        reason: String,
    },
    /// A share of the tenants that cannot be meant.
    #[error("`{value}` is no partition: {reason}")]
    Partition {
        /// As it was given.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A run that many runners share, which this one cannot join.
    #[error("run `{run}` cannot be joined: {reason}")]
    Run {
        /// Its name.
        run: String,
        /// What stands in the way.
        reason: String,
    },
    /// What another runner recorded as a tenant's failure.
    #[error(transparent)]
    Recorded(Recorded),
    /// The server has no connections left to work with.
    #[error("the server has {used} of {most} connections in use, which leaves none to migrate over")]
    Full {
        /// Connections in use.
        used: i64,
        /// The most that roles without privileges may have.
        most: i64,
    },
    /// The task of one tenant panicked.
    #[error("the task of tenant `{tenant}` broke off: {reason}")]
    Panicked {
        /// The tenant.
        tenant: String,
        /// The panic's text.
        reason: String,
    },
}

fn known_sets(known: &[String]) -> String {
    match known {
        [] => "there is none".to_owned(),
        known => format!("there are: {}", known.join(", ")),
    }
}

fn at_row(row: Option<usize>, field: Option<&str>) -> String {
    let row = row.map(|row| format!(", row {row}")).unwrap_or_default();
    let field = field.map(|field| format!(", `{field}`")).unwrap_or_default();
    format!("{row}{field}")
}

fn at_line(line: Option<usize>) -> String {
    line.map(|line| format!(" in line {line}")).unwrap_or_default()
}

fn leftovers(invalid: &[String]) -> String {
    if invalid.is_empty() {
        return String::new();
    }
    format!("; it leaves an index that is not valid: run `{}` and migrate again", invalid.join("; "))
}
