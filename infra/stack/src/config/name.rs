//! What a name may look like, by the rules of whoever is given it.

use super::error::{Problem, shown};
use crate::spec::clone_of;

/// PostgreSQL cuts longer names off without a word (NAMEDATALEN - 1).
const POSTGRES_BYTES: usize = 63;

/// Checks a project's or environment's name: it becomes a part of every AWS name.
pub(super) fn slug(what: &str, text: &str, limit: usize, example: &str) -> Result<(), Problem> {
    let help = || match suggestion(text, '-', limit) {
        Some(name) => format!("write it as `{name}`"),
        None => format!("choose a name such as `{example}`"),
    };
    let wrong = |why: &str| Err(Problem::new(format!("{what} name {} {why}", shown(text)), help()));
    if text.is_empty() {
        return wrong("is empty");
    }
    if text.len() > limit {
        return wrong(&format!("is longer than {limit} characters; AWS names are made of it"));
    }
    if let Some(c) = text.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-')) {
        return wrong(&format!(
            "has {} in it; only lowercase letters, digits and hyphens may be",
            shown(&c.to_string())
        ));
    }
    if !text.starts_with(|c: char| c.is_ascii_lowercase()) {
        return wrong("does not start with a letter");
    }
    if text.contains("--") || text.ends_with('-') {
        return wrong("has a hyphen at its end or two in a row, which RDS refuses");
    }
    Ok(())
}

/// Checks a DB instance identifier.
pub(super) fn identifier(text: &str) -> Result<(), Problem> {
    slug("database", text, 63, "startupwebapp-multi-tenant-prod")
}

/// Checks a tenant's name, which is its database's.
pub(super) fn tenant(text: &str) -> Result<(), Problem> {
    postgres("tenant name", text)?;
    if text == "postgres" || text.starts_with("template") || text.starts_with("pg_") {
        return Err(reserved("tenant name", text, "PostgreSQL"));
    }
    if text.starts_with("rds") {
        return Err(reserved("tenant name", text, "RDS"));
    }
    Ok(())
}

/// Checks the name of a role that owns a tenant.
pub(super) fn role(text: &str, master_user: &str) -> Result<(), Problem> {
    postgres("role name", text)?;
    if matches!(text, "postgres" | "public" | "none") || text.starts_with("pg_") {
        return Err(reserved("role name", text, "PostgreSQL"));
    }
    if text.starts_with("rds") {
        return Err(reserved("role name", text, "RDS"));
    }
    if text == master_user {
        let message = format!("role name {} is the master user's, who would own the tenant", shown(text));
        return Err(Problem::new(message, "give the tenant an owner of its own"));
    }
    // Its secret would be named as the master user's is.
    if text == "master" {
        return Err(reserved("role name", text, "the master user's secret"));
    }
    Ok(())
}

/// Checks that there is a name for the second user of a role.
pub(super) fn clone(owner: &str, master_user: &str) -> Result<(), Problem> {
    role(&clone_of(owner), master_user).map_err(|problem| {
        let message = format!("the second user cannot be named after {}: {}", shown(owner), problem.message);
        Problem::new(message, "give the tenant an owner of another name, or write `rotation = \"one-user\"`")
    })
}

/// Checks the name of a set of migrations, which is a folder's and the end of its history table's.
pub(super) fn migration_set(text: &str) -> Result<(), Problem> {
    if is_migration_set(text) {
        return Ok(());
    }
    let message = format!(
        "{} cannot be a set of migrations: 1 to {SET_LIMIT} lowercase letters, digits and underscores",
        shown(text)
    );
    Err(Problem::new(message, "name a folder under `db/migrations`, such as `webshop`"))
}

/// The longest name of a set: `refinery_schema_history_` and it are one name of PostgreSQL's.
const SET_LIMIT: usize = POSTGRES_BYTES - "refinery_schema_history_".len();

/// Returns whether a text may name a set of migrations: 1 to 39 lowercase letters, digits and underscores.
pub fn is_migration_set(text: &str) -> bool {
    (1..=SET_LIMIT).contains(&text.len()) && text.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '_'))
}

/// Checks the master user's name.
pub(super) fn master_user(text: &str) -> Result<(), Problem> {
    postgres("master user", text)?;
    if text.starts_with('_') {
        let message = format!("master user {} does not start with a letter, as RDS asks", shown(text));
        return Err(Problem::new(message, "choose a name such as `dbadmin`"));
    }
    if text == "admin" || text.starts_with("rds") {
        return Err(reserved("master user", text, "RDS"));
    }
    if matches!(text, "public" | "none") || text.starts_with("pg_") {
        return Err(reserved("master user", text, "PostgreSQL"));
    }
    Ok(())
}

/// Checks what every secret's name starts with.
pub(super) fn secret_prefix(text: &str) -> Result<(), Problem> {
    // 512 in all for Secrets Manager, less a slash and a role's name.
    const LIMIT: usize = 512 - 1 - POSTGRES_BYTES;
    let wrong = |why: String| {
        let message = format!("secret prefix {} {why}", shown(text));
        Err(Problem::new(message, "write it as `rds/startupwebapp/multi-tenant`"))
    };
    if text.is_empty() {
        return wrong("is empty".into());
    }
    if text.len() > LIMIT {
        return wrong(format!("is longer than {LIMIT} characters"));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "/_+=.@-".contains(c);
    if let Some(c) = text.chars().find(|c| !allowed(*c)) {
        return wrong(format!("has {} in it, which Secrets Manager refuses", shown(&c.to_string())));
    }
    if text.starts_with('/') || text.ends_with('/') || text.contains("//") {
        return wrong("has a slash at an end or two in a row".into());
    }
    Ok(())
}

/// Checks the full name of the master user's secret.
pub(super) fn master_secret(text: &str) -> Result<(), Problem> {
    let wrong = |why: &str| {
        let message = format!("master secret {} {why}", shown(text));
        Err(Problem::new(message, "write it as `rds/startupwebapp/multi-tenant/master`"))
    };
    if !(1..=512).contains(&text.len()) {
        return wrong("is not 1 to 512 characters long");
    }
    if !text.chars().all(|c| c.is_ascii_alphanumeric() || "/_+=.@-".contains(c)) {
        return wrong("has a character in it that Secrets Manager refuses");
    }
    Ok(())
}

/// Checks the name of a database subnet group; RDS keeps it in lower case.
pub(super) fn subnet_group(text: &str) -> Result<(), Problem> {
    let allowed = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '-' | '_' | '.');
    if (1..=255).contains(&text.len()) && text.chars().all(allowed) && text != "default" {
        return Ok(());
    }
    let message = format!("{} cannot be the name of a database subnet group", shown(text));
    Err(Problem::new(message, "write it as `startupwebapp-db-subnets`, in lower case"))
}

/// Checks the name of a role or of an instance profile.
pub(super) fn iam(what: &str, text: &str, limit: usize) -> Result<(), Problem> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "+=,.@_-".contains(c);
    if (1..=limit).contains(&text.len()) && text.chars().all(allowed) {
        return Ok(());
    }
    let message = format!("{} cannot be the name of {what}", shown(text));
    let help = format!("write 1 to {limit} letters, digits and `+=,.@_-`, such as `startupwebapp-bastion`");
    Err(Problem::new(message, help))
}

fn postgres(what: &str, text: &str) -> Result<(), Problem> {
    let help = || match suggestion(text, '_', POSTGRES_BYTES) {
        Some(name) => format!("write it as `{name}`"),
        None => "choose a name such as `webshop_prod`".to_owned(),
    };
    let wrong = |why: String| Err(Problem::new(format!("{what} {} {why}", shown(text)), help()));
    if text.is_empty() {
        return wrong("is empty".into());
    }
    if let Some(c) = text.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '_')) {
        let c = shown(&c.to_string());
        return wrong(format!("has {c} in it; only lowercase letters, digits and underscores may be"));
    }
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return wrong("starts with a digit".into());
    }
    if text.len() > POSTGRES_BYTES {
        return wrong(format!("is longer than PostgreSQL's {POSTGRES_BYTES} bytes"));
    }
    Ok(())
}

fn reserved(what: &str, text: &str, by: &str) -> Problem {
    let message = format!("{what} {} is reserved by {by}", shown(text));
    Problem::new(message, "choose a name such as `webshop_prod`")
}

/// Returns the nearest name that would do, if it is plain which one is meant.
fn suggestion(text: &str, separator: char, limit: usize) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | ' ' | '.');
    if text.len() > limit || !text.chars().all(plain) {
        return None;
    }
    let words: Vec<String> = text
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    let name = words.join(&separator.to_string());
    name.starts_with(|c: char| c.is_ascii_lowercase()).then_some(name)
}
