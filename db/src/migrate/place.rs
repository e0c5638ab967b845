//! Where a tenant's history is. It must be in one place, where `search_path` leads; if not, the error says how to fix that.

use tokio_postgres::SimpleQueryRow;

use super::history::Table;
use crate::Error;
use crate::quote::{ident, literal};

/// Returns a query for where the history is, where it would be made, whether this role may, and where else there is a
/// table of that name.
///
/// It uses functions, and one catalog by its index: to plan a join over the catalogs costs a new backend most of a
/// millisecond. A view that `search_path` leads to is taken for a deliberate way to a history elsewhere. Foreign tables, which
/// `IMPORT FOREIGN SCHEMA` makes of another database's history, do not count.
///
/// It must see the tenant's own `search_path`, and so names everything else with its schema: `IN`, `IS DISTINCT FROM` and
/// `CASE .. WHEN` would look for an operator `=` where that path leads.
pub(super) fn place(table: &str) -> String {
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

/// Where the history is and is looked for.
pub(super) struct Place {
    role: String,
    /// The schema in which a table would be made.
    here: Option<String>,
    may_create: bool,
    /// The schema in which the history is found by its name alone.
    pub(super) found: Option<String>,
    may_insert: bool,
    /// The other schemas with a table of that name, quoted where that is needed.
    elsewhere: Vec<String>,
}

impl Place {
    pub(super) fn parse(row: &SimpleQueryRow) -> Option<Place> {
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
    pub(super) fn check(&self, tenant: &str, table: &str) -> Result<(), Error> {
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
    pub(super) fn table(&self, tenant: &str, table: &str) -> Result<Table, Error> {
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

/// Returns the command, as typed in a shell, that runs a statement in a tenant's database.
///
/// The tenant chose the names in it. If one holds a control character, which no quotes make safe to paste, it returns the
/// statement alone.
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

pub(super) fn is_true(row: &SimpleQueryRow, at: usize) -> bool {
    matches!(row.try_get(at), Ok(Some("t")))
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
