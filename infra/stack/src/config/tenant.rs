use super::error::{ConfigError, Problem, Source, shown};
use super::record::{Fault, Record, tenants};
use super::table::{Keys, Table};
use crate::spec::{Registry, Tenant};

pub(super) const KEYS: Keys = &[
    ("name", "\"webshop_prod\""),
    ("purpose", "\"Main production app\""),
    ("owner", "\"webshop_prod\""),
    ("encoding", "\"UTF8\""),
    ("locale", "\"en_US.UTF-8\""),
    ("labels", "[\"beta\"]"),
    ("migrations", "\"webshop\""),
    ("rotation", "\"two-users\""),
];
pub(super) const REGISTRY: Keys =
    &[("file", "\"tenants.csv\""), ("query", "\"SELECT name, owner FROM tenant\"")];

/// A tenant as it is written, with the places of its fields.
#[derive(Default)]
struct Written {
    record: Record,
    places: Vec<(&'static str, usize)>,
    labels: Vec<usize>,
}

/// Returns the tenants in the file's order: no name twice, no owner shared by accident.
pub(super) fn resolve(
    source: Source<'_>,
    tables: &[Table<'_>],
    master_user: &str,
) -> Result<Vec<Tenant>, ConfigError> {
    let all: Vec<Written> = tables.iter().map(read).collect::<Result<_, _>>()?;
    let records: Vec<Record> = all.iter().map(|written| written.record.clone()).collect();
    tenants(&records, &[], master_user).map_err(|fault| {
        let Fault { record, field, item, message, help } = fault;
        let Written { places, labels, .. } = &all[record];
        let place = |field: &str| places.iter().find(|(known, _)| *known == field).map(|(_, at)| *at);
        let label = item.and_then(|item| labels.get(item)).copied();
        let at = label.or_else(|| place(field)).or_else(|| place("name")).unwrap_or_default();
        source.fail(at, Problem::new(message, help))
    })
}

fn read(table: &Table<'_>) -> Result<Written, ConfigError> {
    let mut written = Written::default();
    let name = table.required("name")?;
    written.record.name = name.value.to_owned();
    written.places.push(("name", name.at));
    let Written { record, places, labels } = &mut written;
    for (field, value) in [
        ("owner", &mut record.owner),
        ("purpose", &mut record.purpose),
        ("encoding", &mut record.encoding),
        ("locale", &mut record.locale),
        ("migrations", &mut record.migrations),
        ("rotation", &mut record.rotation),
    ] {
        if let Some(text) = table.text(field)? {
            // An empty text is a value here, and as wrong as any other.
            *value = Some(text.value.to_owned());
            places.push((field, text.at));
        }
    }
    if let Some((_, texts)) = table.texts("labels")? {
        labels.extend(texts.iter().map(|label| label.at));
        record.labels = texts.iter().map(|label| label.value.to_owned()).collect();
    }
    Ok(written)
}

/// Returns where more tenants are written, if anywhere.
pub(super) fn registry(source: Source<'_>, table: &Table<'_>) -> Result<Option<Registry>, ConfigError> {
    let (file, query) = (table.text("file")?, table.text("query")?);
    let refuse = |at, message: String, help: &str| Err(source.fail(at, Problem::new(message, help)));
    match (file, query) {
        (None, None) if table.is_written() => Err(table.missing("file")),
        (None, None) => Ok(None),
        (Some(_), Some(query)) => {
            let message = "`file` and `query` are two sources".to_owned();
            refuse(query.at, message, "keep one of them; `[[tenant]]` goes with either")
        }
        (Some(file), None) => {
            let is_path = !file.value.is_empty() && file.value.len() <= 1000;
            if !is_path || file.value.chars().any(char::is_control) {
                let message = format!("{} is not a path", shown(file.value));
                return refuse(file.at, message, "write it as `\"tenants.csv\"`, seen from the stack file");
            }
            Ok(Some(Registry::File(file.value.to_owned())))
        }
        (None, Some(query)) => {
            let word = query.value.trim_start().split(|c: char| !c.is_alphanumeric()).next();
            let reads = word.is_some_and(|word| {
                ["select", "with", "table", "values"].iter().any(|known| word.eq_ignore_ascii_case(known))
            });
            if !reads {
                let message = format!("{} is not a query", shown(query.value));
                return refuse(query.at, message, "write it as `\"SELECT name, owner FROM tenant\"`");
            }
            Ok(Some(Registry::Query(query.value.to_owned())))
        }
    }
}
