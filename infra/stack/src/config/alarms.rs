use super::error::{ConfigError, Problem, Source};
use super::form;
use super::table::{Keys, Table};
use crate::alarm::{self, Overrides};
use crate::spec::{Alarms, Database};

pub(super) const KEYS: Keys = &[
    ("enabled", "true"),
    ("email", "\"ops@example.com\""),
    ("cpu_percent", "80"),
    ("free_storage_gib", "2"),
    ("connections", "180"),
    ("freeable_memory_mib", "205"),
];

/// Returns the alarms; without the table, or with `enabled = false`, there are none.
pub(super) fn resolve(
    source: Source<'_>,
    table: &Table<'_>,
    database: &Database,
) -> Result<Alarms, ConfigError> {
    let email = table.text("email")?;
    if let Some(email) = email {
        form::email(email.value).map_err(|problem| source.fail(email.at, problem))?;
    }
    let storage = database.storage_gib;
    let given = Overrides {
        cpu_percent: table.number("cpu_percent", 1..=99)?,
        // With all of it free the alarm must be off.
        free_storage_gib: table.number("free_storage_gib", 1..=i64::from(storage) - 1)?,
        connections: table.number("connections", 1..=262_143)?,
        freeable_memory_mib: table.number("freeable_memory_mib", 1..=4_194_304)?,
    };
    let enabled = match table.flag("enabled")? {
        Some(flag) => flag.value,
        None => email.is_some() || given != Overrides::default(),
    };
    // An alarm that tells nobody is none.
    if enabled && email.is_none() {
        return Err(table.missing("email"));
    }
    let thresholds = match alarm::thresholds(&database.class, storage, given) {
        Ok(thresholds) => Some(thresholds),
        Err(keys) if enabled => return Err(table.refuse(unknown(&database.class, &keys))),
        Err(_) => None,
    };
    Ok(Alarms { enabled, email: email.map(|email| email.value.to_owned()), thresholds })
}

fn unknown(class: &str, keys: &[&str]) -> Problem {
    let names = |words: &dyn Fn(&&str) -> String| keys.iter().map(words).collect::<Vec<_>>().join(" and ");
    let message = format!(
        "the memory of `{class}` is not known, so {} must be given",
        names(&|key| format!("`{key}`"))
    );
    let example =
        |key: &&str| KEYS.iter().find(|(known, _)| known == key).map_or("..", |(_, example)| example);
    Problem::new(message, format!("add {}", names(&|key| format!("`{key} = {}`", example(key)))))
}
