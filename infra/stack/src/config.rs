//! `stack.toml` as people write it, checked to the last key and resolved to a [`Stack`].

mod alarms;
mod allow;
mod csv;
mod error;
mod form;
mod migrate;
mod name;
mod network;
mod record;
mod table;
mod tenant;

use std::time::Duration;

use toml::de::DeTable;

pub use self::error::ConfigError;
pub(crate) use self::error::{Problem, Source};
pub use self::name::is_migration_set;
pub use self::record::{FIELDS, Fault, Record, tenants};
use self::table::{Headers, Keys, Table};
use crate::spec::{Bastion, Database, Stack, Tenant};

const ROOT: Keys = &[
    ("project", "\"startupwebapp\""),
    ("environment", "\"prod\""),
    ("region", "\"us-east-1\""),
    ("network", "{ cidr = \"10.42.0.0/16\" }"),
    ("database", "{ class = \"db.t4g.small\" }"),
    ("bastion", "{ instance_type = \"t3.micro\" }"),
    ("alarms", "{ email = \"ops@example.com\" }"),
    ("migrate", "{ waves = [\"canary\", \"rest\"] }"),
    ("tenant", "[{ name = \"webshop_prod\" }]"),
    ("tenants", "{ file = \"tenants.csv\" }"),
];
const DATABASE: Keys = &[
    ("identifier", "\"startupwebapp-multi-tenant-prod\""),
    ("engine_version", "\"16\""),
    ("class", "\"db.t4g.small\""),
    ("storage_gib", "20"),
    ("master_user", "\"dbadmin\""),
    ("port", "5432"),
    ("backup_days", "7"),
    ("multi_az", "false"),
    ("deletion_protection", "true"),
    ("final_snapshot", "true"),
    ("monitoring_interval", "60"),
    ("logs", "[\"postgresql\"]"),
    ("secret_prefix", "\"rds/startupwebapp/multi-tenant\""),
    ("master_secret", "\"rds/startupwebapp/multi-tenant/master\""),
    ("subnet_group", "\"startupwebapp-db-subnets\""),
    ("allow_groups", "[\"sg-0123456789abcdef0\"]"),
    ("allow_cidrs", "[\"10.1.0.0/16\"]"),
];
const BASTION: Keys = &[
    ("instance_type", "\"t3.micro\""),
    ("volume_gib", "8"),
    ("ready_within", "\"5m\""),
    ("sessions", "4"),
    ("message_bytes", "1024"),
    ("idle", "\"60m\""),
    ("role", "\"startupwebapp-bastion-role\""),
    ("profile", "\"startupwebapp-bastion-profile\""),
];
const READY_WITHIN: form::Span = form::Span {
    seconds: 1..=3600,
    words: "`1s` to `1h`",
    hint: "write it as `\"5m\"`; a session is usually possible after one or two minutes",
};
const IDLE: form::Span = form::Span {
    // The timer looks every minute, and whoever comes needs one to connect.
    seconds: 300..=86400,
    words: "`5m` to `24h`",
    hint: "write it as `\"60m\"`, or `\"never\"` for a bastion that you stop yourself",
};
const SPAN: form::Span =
    form::Span { seconds: 300..=86400, words: "`5m` to `24h`", hint: "write it as `90m` or `2h`" };

/// Lengths that leave room for the longest name made of them: a role's 64 characters, a database's 63.
const PROJECT_LIMIT: usize = 32;
const ENVIRONMENT_LIMIT: usize = 16;

const HEADERS: Headers = &[
    ("[network]", network::KEYS),
    ("[database]", DATABASE),
    ("[bastion]", BASTION),
    ("[alarms]", alarms::KEYS),
    ("[migrate]", migrate::KEYS),
    ("[[tenant]]", tenant::KEYS),
    ("[tenants]", tenant::REGISTRY),
];

/// Returns the duration that a text such as `90m` or `2h` on the command line means, from five minutes to a day.
///
/// # Errors
/// Says in words what is wrong with it, and what would be right.
pub fn span(text: &str) -> Result<Duration, (String, String)> {
    form::duration(text, &SPAN).map_err(|problem| (problem.message, problem.help))
}

/// Returns the stack that the bytes of a configuration file describe; `file` is what messages call it.
///
/// # Errors
/// The first thing that is wrong, with its place and what would be right.
pub fn parse_bytes(bytes: &[u8], file: &str) -> Result<Stack, ConfigError> {
    parse(decode(bytes, file)?, file)
}

/// Returns the tenants of a CSV file, which `stack` has not yet; `file` is what messages call it.
///
/// Its first line names the columns, any of [`FIELDS`] in any order; `labels` are separated by semicolons, and an
/// empty value is one left out.
///
/// # Errors
/// The first thing that is wrong, with its place and what would be right.
pub fn parse_tenants(bytes: &[u8], file: &str, stack: &Stack) -> Result<Vec<Tenant>, ConfigError> {
    let source = Source { file, text: decode(bytes, file)? };
    check_plain(source)?;
    csv::parse(source, stack)
}

/// Returns the text that the bytes of a file are.
pub(crate) fn decode<'a>(bytes: &'a [u8], file: &str) -> Result<&'a str, ConfigError> {
    str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        let text = str::from_utf8(&bytes[..at]).expect("invariant: valid up to here");
        let message = format!("byte 0x{:02x} is not UTF-8", bytes[at]);
        Source { file, text }.fail(at, Problem::new(message, "save the file as UTF-8"))
    })
}

/// Refuses what no text file of ours begins with or has in it.
pub(crate) fn check_plain(source: Source<'_>) -> Result<(), ConfigError> {
    if source.text.starts_with('\u{feff}') {
        let problem =
            Problem::new("the file starts with a byte order mark", "save the file as UTF-8 without BOM");
        return Err(source.fail(0, problem));
    }
    match source.text.find('\0') {
        Some(at) => Err(source.fail(at, Problem::new("there is a NUL byte", "save the file as plain text"))),
        None => Ok(()),
    }
}

/// Returns the stack that the text of a configuration file describes; `file` is what messages call it.
///
/// # Errors
/// The first thing that is wrong, with its place and what would be right.
pub fn parse(text: &str, file: &str) -> Result<Stack, ConfigError> {
    let source = Source { file, text };
    check_plain(source)?;
    if text.trim().is_empty() {
        let problem = Problem::new("the file is empty", "start from `infra/stack.toml` of the repository");
        return Err(source.fail(0, problem));
    }
    // The parser goes on after an error, and what it trips over next is no news to anyone.
    let (document, errors) = DeTable::parse_recoverable(text);
    if let Some(error) = errors.iter().min_by_key(|error| error.span().map_or(text.len(), |span| span.start))
    {
        return Err(syntax(source, error));
    }
    let root = Table::root(source, document.get_ref(), ROOT, HEADERS)?;
    resolve(source, &root)
}

fn syntax(source: Source<'_>, error: &toml::de::Error) -> ConfigError {
    let at = error.span().map_or(source.text.len(), |span| span.start);
    let message: String = error.message().chars().take(200).flat_map(escape_control).collect();
    source.fail(at, Problem::new(format!("not TOML: {message}"), "see https://toml.io for the notation"))
}

fn escape_control(c: char) -> impl Iterator<Item = char> {
    let escaped = c.is_control().then(|| c.escape_debug());
    let plain = escaped.is_none().then_some(c);
    escaped.into_iter().flatten().chain(plain)
}

fn resolve(source: Source<'_>, root: &Table<'_>) -> Result<Stack, ConfigError> {
    let project = required(source, root, "project", |text| {
        name::slug("project", text, PROJECT_LIMIT, "startupwebapp")
    })?;
    let environment = required(source, root, "environment", |text| {
        name::slug("environment", text, ENVIRONMENT_LIMIT, "prod")
    })?;
    let region = required(source, root, "region", form::region)?;

    let network = root.table("network", "[network]", network::KEYS)?;
    let network = network::resolve(source, &network, &region)?;
    let database = root.table("database", "[database]", DATABASE)?;
    let database = resolve_database(source, &database, &project, &environment)?;
    let bastion = resolve_bastion(source, &root.table("bastion", "[bastion]", BASTION)?)?;
    let alarms = alarms::resolve(source, &root.table("alarms", "[alarms]", alarms::KEYS)?, &database)?;
    let migrate = migrate::resolve(source, &root.table("migrate", "[migrate]", migrate::KEYS)?)?;
    let tenants = root.tables("tenant", "[[tenant]]", tenant::KEYS)?;
    let tenants = tenant::resolve(source, &tenants, &database.master_user)?;
    let registry = tenant::registry(source, &root.table("tenants", "[tenants]", tenant::REGISTRY)?)?;

    let name = format!("{project}-{environment}");
    Ok(Stack {
        name,
        project,
        environment,
        region,
        network,
        database,
        bastion,
        alarms,
        migrate,
        tenants,
        registry,
    })
}

fn resolve_database(
    source: Source<'_>,
    table: &Table<'_>,
    project: &str,
    environment: &str,
) -> Result<Database, ConfigError> {
    let text = |key, default: String, check: fn(&str) -> Result<(), Problem>| {
        checked(source, table, key, &default, check)
    };
    let is_prod = environment == "prod";
    let flag = |key, default| Ok(table.flag(key)?.map_or(default, |flag| flag.value));
    Ok(Database {
        identifier: text("identifier", format!("{project}-multi-tenant-{environment}"), name::identifier)?,
        engine_version: text("engine_version", "16".to_owned(), form::engine_version)?,
        class: text("class", "db.t4g.small".to_owned(), form::class)?,
        storage_gib: table.number("storage_gib", 20..=65536)?.unwrap_or(20),
        master_user: text("master_user", "dbadmin".to_owned(), name::master_user)?,
        // RDS takes nothing below 1150.
        port: table.number("port", 1150..=65535)?.unwrap_or(5432),
        backup_days: table.number("backup_days", 0..=35)?.unwrap_or(7),
        multi_az: flag("multi_az", false)?,
        deletion_protection: flag("deletion_protection", is_prod)?,
        final_snapshot: flag("final_snapshot", is_prod)?,
        monitoring_interval: monitoring_interval(source, table)?,
        logs: logs(source, table)?,
        secret_prefix: text(
            "secret_prefix",
            format!("rds/{project}/multi-tenant-{environment}"),
            name::secret_prefix,
        )?,
        master_secret: maybe(source, table, "master_secret", name::master_secret)?,
        subnet_group: maybe(source, table, "subnet_group", name::subnet_group)?,
        allow_groups: allow::groups(source, table)?,
        allow_cidrs: allow::cidrs(source, table)?,
    })
}

fn resolve_bastion(source: Source<'_>, table: &Table<'_>) -> Result<Bastion, ConfigError> {
    let ready_within = match table.text("ready_within")? {
        Some(text) => {
            form::duration(text.value, &READY_WITHIN).map_err(|problem| source.fail(text.at, problem))?
        }
        None => Duration::from_secs(300),
    };
    let idle = match table.text("idle")? {
        Some(text) if text.value == "never" => None,
        Some(text) => {
            Some(form::duration(text.value, &IDLE).map_err(|problem| source.fail(text.at, problem))?)
        }
        None => Some(Duration::from_secs(3600)),
    };
    Ok(Bastion {
        instance_type: checked(source, table, "instance_type", "t3.micro", form::instance_type)?,
        // The image of Amazon Linux 2023 does not fit into less.
        volume_gib: table.number("volume_gib", 8..=16384)?.unwrap_or(8),
        ready_within,
        sessions: table.number("sessions", 1..=16)?.unwrap_or(4),
        // More than any official client sends is for those who want to find out: see `tunnel::PAYLOAD_SIZE`.
        message_bytes: table.number("message_bytes", 256..=32768)?.unwrap_or(1024),
        idle,
        role: maybe(source, table, "role", |text| name::iam("a role", text, 64))?,
        profile: maybe(source, table, "profile", |text| name::iam("an instance profile", text, 128))?,
    })
}

fn monitoring_interval(source: Source<'_>, table: &Table<'_>) -> Result<u32, ConfigError> {
    let Some(seconds) = table.number_at("monitoring_interval", 0..=60)? else {
        return Ok(0);
    };
    form::monitoring_interval(seconds.value).map_err(|problem| source.fail(seconds.at, problem))?;
    Ok(seconds.value)
}

fn logs(source: Source<'_>, table: &Table<'_>) -> Result<Vec<String>, ConfigError> {
    let mut logs: Vec<String> = Vec::new();
    for text in table.texts("logs")?.map(|(_, texts)| texts).unwrap_or_default() {
        form::log(text.value).map_err(|problem| source.fail(text.at, problem))?;
        if logs.iter().any(|log| log == text.value) {
            let message = format!("log `{}` is there twice", text.value);
            return Err(source.fail(text.at, Problem::new(message, "remove one")));
        }
        logs.push(text.value.to_owned());
    }
    logs.sort();
    Ok(logs)
}

fn required(
    source: Source<'_>,
    table: &Table<'_>,
    key: &str,
    check: impl Fn(&str) -> Result<(), Problem>,
) -> Result<String, ConfigError> {
    let text = table.required(key)?;
    check(text.value).map_err(|problem| source.fail(text.at, problem))?;
    Ok(text.value.to_owned())
}

fn maybe(
    source: Source<'_>,
    table: &Table<'_>,
    key: &str,
    check: fn(&str) -> Result<(), Problem>,
) -> Result<Option<String>, ConfigError> {
    let Some(text) = table.text(key)? else { return Ok(None) };
    check(text.value).map_err(|problem| source.fail(text.at, problem))?;
    Ok(Some(text.value.to_owned()))
}

fn checked(
    source: Source<'_>,
    table: &Table<'_>,
    key: &str,
    default: &str,
    check: fn(&str) -> Result<(), Problem>,
) -> Result<String, ConfigError> {
    let Some(text) = table.text(key)? else {
        return Ok(default.to_owned());
    };
    check(text.value).map_err(|problem| source.fail(text.at, problem))?;
    Ok(text.value.to_owned())
}
