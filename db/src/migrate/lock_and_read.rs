//! The first round trip: the lock, and what is there once it is ours.

use std::time::Duration;

use futures_util::future::join;
use futures_util::{StreamExt, pin_mut};
use stack::Events;
use tokio::time::Instant;
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

use super::Stop;
use super::history::{self, Row, Table};
use crate::lock::{self, FIRST_PAUSE, Holder, LONGEST_PAUSE, Lock, Wait};
use crate::quote::{ident, literal};
use crate::{Error, Session, path};

/// A tenant whose lock is ours, as it is.
pub(super) struct Locked {
    pub(super) history: Vec<Row>,
    pub(super) table: Table,
}

/// How long to ask for the lock, and who is told meanwhile.
pub(super) struct LockWait<'a> {
    pub(super) limit: Duration,
    pub(super) stop: &'a Stop,
    pub(super) events: &'a Events,
}

const LOCK: Lock = lock::MIGRATIONS;

/// Returns a query for where the history is, where it would be made, whether this role may, and where else there is a
/// table of that name.
///
/// Functions, and one catalog by its index: a new backend has yet to learn what a join over the catalogs is, for most of a
/// millisecond. A view that `search_path` leads to is somebody's way to a history elsewhere. Foreign tables, which
/// `IMPORT FOREIGN SCHEMA` makes of another database's history, are none.
///
/// It must see the tenant's own `search_path`, and so names everything else with its schema: `IN`, `IS DISTINCT FROM` and
/// `CASE .. WHEN` would look for an operator `=` where that path leads.
fn place(table: &str) -> String {
    let (name, table) = (literal(table), literal(&ident(table)));
    let found = format!("pg_catalog.to_regclass({table})");
    let object =
        format!("(pg_catalog.pg_identify_object('pg_catalog.pg_class'::pg_catalog.regclass, {found}, 0))");
    let schema = "relnamespace::pg_catalog.regnamespace::pg_catalog.text";
    format!(
        "SELECT current_user::pg_catalog.text, pg_catalog.current_schema()::pg_catalog.text,
           coalesce(pg_catalog.has_schema_privilege(pg_catalog.current_schema(), 'CREATE'), false),
           (pg_catalog.parse_ident({object}.schema))[1],
           coalesce(pg_catalog.has_table_privilege({found}, 'INSERT'), false),
           (SELECT pg_catalog.json_agg({schema} ORDER BY {schema})
            FROM pg_catalog.pg_class
            WHERE relname OPERATOR(pg_catalog.=) {name}
              AND relkind OPERATOR(pg_catalog.=) ANY ('{{r,p}}'::pg_catalog.\"char\"[])
              AND relpersistence OPERATOR(pg_catalog.<>) 't'
              AND coalesce(oid OPERATOR(pg_catalog.<>) {found}, true)
              AND coalesce({object}.type OPERATOR(pg_catalog.<>) 'view', true))"
    )
}

/// Returns what looks for the history and reads it, where the tenant's own `search_path` leads.
fn look_sql(table: &str) -> String {
    format!("{}; {}; {}", path::RESET, place(table), history::read(table))
}

/// Takes the lock and reads the history in one round trip; asks again while somebody else holds the lock.
///
/// The server answers in order: a history that comes with the lock was read when the lock was ours. One that comes
/// without it is stale and thrown away.
///
/// # Errors
/// [`Error::Locked`] names who still holds it; [`Error::Misplaced`] if the history is elsewhere or there are several;
/// [`Error::Forbidden`] if the role could not record anything.
pub(super) async fn lock_and_read(
    session: &Session,
    tenant: &str,
    table: &str,
    wait: &LockWait<'_>,
) -> Result<Locked, Error> {
    let start = Instant::now();
    let mut pause = FIRST_PAUSE;
    let mut told = Wait::new(LOCK, super::subject(tenant), wait.events);
    // Two messages: in one, both would see the database as it was before the lock, if its default isolation says so.
    let (take, look) = (LOCK.try_sql(), look_sql(table));
    loop {
        let client = session.client();
        let asked = join(join(ask(client, &take), ask(client, &look)), find_holder(session, start.elapsed()));
        // Until it is read nothing is written, and whoever waits for that stands aside.
        let ((lock, seen), holder) = in_time(tenant, wait.limit.max(LOOK_LIMIT), asked).await?;
        if let Some(error) = lock.1 {
            return Err(failed("ask for the lock", error));
        }
        if lock.0.first().is_some_and(|row| is_true(row, 0)) {
            let (history, place) = parse(tenant, table, Right::Record, seen)?;
            return Ok(Locked { history, table: place.table(tenant, table)? });
        }
        let holder = holder?;
        if start.elapsed() >= wait.limit {
            let holder = match holder {
                Some(holder) => Some(holder),
                None => lock::find_holder(session, LOCK).await?,
            };
            let holder = holder.map_or_else(|| "another session".to_owned(), |holder| holder.to_string());
            return Err(Error::Locked { lock: LOCK.name, holder, waited: start.elapsed() });
        }
        told.tell(holder);
        tokio::select! {
            () = wait.stop.raised() => {
                let state = "nothing was begun".to_owned();
                return Err(Error::Interrupted { tenant: tenant.to_owned(), state });
            }
            () = tokio::time::sleep(pause.min(wait.limit.saturating_sub(start.elapsed()))) => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Reads the history in one round trip, without the lock: it may be stale in the next moment.
pub(super) async fn look(session: &Session, tenant: &str, table: &str) -> Result<Vec<Row>, Error> {
    see(session, tenant, table, Right::Read).await.map(|(history, _)| history)
}

/// Reads the history and checks the rights to record in one round trip, without the lock.
pub(super) async fn inspect(session: &Session, tenant: &str, table: &str) -> Result<Vec<Row>, Error> {
    see(session, tenant, table, Right::Record).await.map(|(history, _)| history)
}

/// Returns the schema of the history, if there is one, and how many migrations are in it.
pub(crate) async fn find(
    session: &Session,
    tenant: &str,
    table: &str,
) -> Result<(Option<String>, usize), Error> {
    let (history, place) = see(session, tenant, table, Right::Read).await?;
    Ok((place.found, history.len()))
}

async fn see(session: &Session, tenant: &str, table: &str, right: Right) -> Result<(Vec<Row>, Place), Error> {
    let sql = look_sql(table);
    let answer = in_time(tenant, LOOK_LIMIT, ask(session.client(), &sql)).await?;
    parse(tenant, table, right, answer)
}

/// A history that is a view may take as long as its owner likes.
const LOOK_LIMIT: Duration = Duration::from_secs(10);

async fn in_time<T>(tenant: &str, limit: Duration, work: impl Future<Output = T>) -> Result<T, Error> {
    let slow = |_| Error::Slow { tenant: tenant.to_owned(), doing: "read the history", limit };
    tokio::time::timeout(limit, work).await.map_err(slow)
}

/// What a message brought, and what it came to nothing with.
type Answer = (Vec<SimpleQueryRow>, Option<tokio_postgres::Error>);

/// Asks in one message: rows come as text, whatever their type, and before an error those of the statements before it.
async fn ask(client: &Client, sql: &str) -> Answer {
    let mut rows = Vec::new();
    let answer = match client.simple_query_raw(sql).await {
        Ok(answer) => answer,
        Err(error) => return (rows, Some(error)),
    };
    pin_mut!(answer);
    while let Some(message) = answer.next().await {
        match message {
            Ok(SimpleQueryMessage::Row(row)) => rows.push(row),
            Ok(_) => {}
            Err(error) => return (rows, Some(error)),
        }
    }
    (rows, None)
}

fn is_true(row: &SimpleQueryRow, at: usize) -> bool {
    matches!(row.try_get(at), Ok(Some("t")))
}

/// What is to be done with the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Right {
    Read,
    Record,
}

/// Returns the history and where it is, from the answer to both questions.
fn parse(tenant: &str, table: &str, right: Right, (rows, error): Answer) -> Result<(Vec<Row>, Place), Error> {
    let broken = |reason: &str| Error::History { table: table.to_owned(), reason: reason.to_owned() };
    let Some((place, rows)) = rows.split_first() else {
        return Err(match error {
            Some(error) => failed("look for the history", error),
            None => broken("the server did not say where it is"),
        });
    };
    let place = Place::parse(place).ok_or_else(|| broken("the server did not say where else it is"))?;
    // What is not found by its name alone may be elsewhere: that comes first.
    place.check(tenant, table)?;
    if right == Right::Record {
        place.table(tenant, table)?;
    }
    Ok((history::parse(table, rows, error)?, place))
}

/// Who holds the lock is asked for from the second time on: the first time, hardly anybody does.
async fn find_holder(session: &Session, waited: Duration) -> Result<Option<Holder>, Error> {
    if waited < FIRST_PAUSE {
        return Ok(None);
    }
    lock::find_holder(session, LOCK).await
}

fn failed(doing: &str, error: tokio_postgres::Error) -> Error {
    Error::Statement { doing: doing.to_owned(), source: error.into() }
}

/// Where the history is and is looked for.
struct Place {
    role: String,
    /// The schema in which a table would be made.
    here: Option<String>,
    may_create: bool,
    /// The schema in which the history is found by its name alone.
    found: Option<String>,
    may_insert: bool,
    /// The other schemas with a table of that name, quoted where that is needed.
    elsewhere: Vec<String>,
}

impl Place {
    fn parse(row: &SimpleQueryRow) -> Option<Place> {
        // In a database without an encoding a name may be no text.
        let text = |at: usize| row.try_get(at).ok().flatten().map(str::to_owned);
        Some(Place {
            role: text(0).unwrap_or_default(),
            here: text(1),
            may_create: is_true(row, 2),
            found: text(3),
            may_insert: is_true(row, 4),
            elsewhere: match row.try_get(5).ok()? {
                Some(schemas) => serde_json::from_str(schemas).ok()?,
                None => Vec::new(),
            },
        })
    }

    /// Refuses a history that is elsewhere than where `search_path` leads, or in several places.
    fn check(&self, tenant: &str, table: &str) -> Result<(), Error> {
        let Some(first) = self.elsewhere.first() else { return Ok(()) };
        let table = ident_if_needed(table);
        let found = self.found.as_deref().map(ident_if_needed);
        let named: Vec<String> =
            found.iter().chain(&self.elsewhere).map(|schema| format!("{schema}.{table}")).collect();
        let (problem, mend) = if named.len() > 1 {
            let reads: Vec<String> =
                named.iter().map(|name| typed(tenant, &format!("TABLE {name}"))).collect();
            let leads = match &found {
                Some(schema) => format!("`search_path` leads to {schema}.{table}"),
                None => "`search_path` leads to none of them".to_owned(),
            };
            (
                format!("there are {}; {leads}", named.join(" and ")),
                format!(
                    "compare them ({}), put what is right into one, and drop the other, such as {}",
                    reads.join(", "),
                    typed(tenant, &format!("DROP TABLE {first}.{table}"))
                ),
            )
        } else {
            let back = "take the change of `search_path` back";
            match self.here.as_deref().map(ident_if_needed) {
                Some(here) => (
                    format!(
                        "it is {first}.{table}, and `search_path` now leads to {here}: all of it would be applied \
                         again"
                    ),
                    format!(
                        "{back}, or run {}",
                        typed(tenant, &format!("ALTER TABLE {first}.{table} SET SCHEMA {here}"))
                    ),
                ),
                None => (
                    format!("it is {first}.{table}, and `search_path` now names no schema that is there"),
                    back.to_owned(),
                ),
            }
        };
        let (problem, mend) = (visible(&problem), visible(&mend));
        Err(Error::Misplaced { tenant: tenant.to_owned(), problem, mend })
    }

    /// Returns the table to record in, if the role may do that.
    fn table(&self, tenant: &str, table: &str) -> Result<Table, Error> {
        let role = &self.role;
        let forbid =
            |reason: String| Error::Forbidden { tenant: tenant.to_owned(), role: role.clone(), reason };
        let grant = |what: &str, on: String| {
            format!(
                "it lacks {what} on {on}; run `GRANT {what} ON {on} TO {}` as the owner",
                ident_if_needed(role)
            )
        };
        if let Some(schema) = &self.found {
            return match self.may_insert {
                true => Ok(Table::new(schema.clone(), table, true)),
                false => Err(forbid(grant(
                    "INSERT",
                    format!("TABLE {}.{}", ident_if_needed(schema), ident_if_needed(table)),
                ))),
            };
        }
        let Some(schema) = &self.here else {
            return Err(forbid("its `search_path` names no schema that is there".to_owned()));
        };
        match self.may_create {
            true => Ok(Table::new(schema.clone(), table, false)),
            false => Err(forbid(grant("CREATE", format!("SCHEMA {}", ident_if_needed(schema))))),
        }
    }
}

/// Returns the command that runs a statement at a tenant's, as it is typed in a shell.
///
/// The tenant chose the names in it. With a control character in one, which no quotes make safe to paste, the statement
/// alone is told.
fn typed(tenant: &str, sql: &str) -> String {
    let quoted = if sql.chars().any(char::is_control) { None } else { shlex::try_quote(sql).ok() };
    match quoted {
        Some(quoted) => format!("`cargo xtask psql {tenant} -- -c {quoted}`"),
        None => format!("`{sql}` in `cargo xtask psql {tenant}`"),
    }
}

/// Returns text in which no control character is left.
fn visible(text: &str) -> String {
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escape).collect()
}

/// Returns the name as people would type it.
fn ident_if_needed(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    match name.chars().all(is_plain) && !name.starts_with(|c: char| c.is_ascii_digit()) {
        true => name.to_owned(),
        false => ident(name),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::{Place, ident_if_needed, typed};
    use crate::Error;
    use crate::quote::ident;

    const NAMES: [&str; 12] = [
        "x'; touch f; echo '",
        "x\"; touch f; \"",
        "x$(touch f)",
        "x`touch f`",
        "x\\' touch f",
        "x!touch",
        "x'!touch",
        "x'\"$(touch f)`touch f`\\",
        "x\ntouch f",
        "x'\ntouch f",
        "x\u{1b}[2Jtouch",
        "x\u{9b}2Jtouch",
    ];

    /// A role that may create a schema chooses its name, and whoever reads the advice pastes it into a shell.
    #[test]
    fn a_schemas_name_never_gets_out_of_the_quotes_of_a_printed_command() {
        // Where a command that does get out may do what it wants.
        let dir = tempfile::tempdir().expect("there is room for a folder");
        for name in NAMES {
            let sql = format!("TABLE {}.refinery_schema_history", ident(name));
            let told = typed("shop", &sql);
            if name.contains(char::is_control) {
                assert_eq!(told, format!("`{sql}` in `cargo xtask psql shop`"));
                continue;
            }
            let command = told.strip_prefix('`').and_then(|told| told.strip_suffix('`')).expect("a command");
            // The shell itself says which arguments it would give.
            let script = format!("cargo() {{ printf '%s\\n' \"$@\"; }}\n{command}\n");
            let ran = Command::new("sh")
                .args(["-c", &script])
                .current_dir(&dir)
                .output()
                .expect("there is a shell");
            let given = String::from_utf8_lossy(&ran.stdout);
            assert_eq!(given, format!("xtask\npsql\nshop\n--\n-c\n{sql}\n"), "{command}: {ran:?}");
        }
    }

    #[test]
    fn a_schemas_name_never_writes_to_the_terminal() {
        for name in NAMES {
            for (found, elsewhere) in [(None, name), (Some(name), "app"), (Some("app"), name)] {
                let place = Place {
                    role: "shop_app".to_owned(),
                    here: Some(name.to_owned()),
                    may_create: true,
                    found: found.map(str::to_owned),
                    may_insert: true,
                    elsewhere: vec![ident_if_needed(elsewhere)],
                };
                let error = place.check("shop", "refinery_schema_history").expect_err("it is elsewhere");
                let Error::Misplaced { problem, mend, .. } = error else { panic!("{error}") };
                assert!(!problem.contains(char::is_control) && !mend.contains(char::is_control), "{mend:?}");
            }
        }
    }
}
