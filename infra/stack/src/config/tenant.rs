use super::error::{ConfigError, Problem, Source, shown};
use super::table::{At, Keys, Table};
use super::{form, migrate, name};
use crate::spec::Tenant;

pub(super) const KEYS: Keys = &[
    ("name", "\"webshop_prod\""),
    ("purpose", "\"Main production app\""),
    ("owner", "\"webshop_prod\""),
    ("encoding", "\"UTF8\""),
    ("locale", "\"en_US.UTF-8\""),
    ("labels", "[\"canary\"]"),
];

/// A tenant with the place of its name, and whether it says itself who owns it.
struct Written {
    tenant: Tenant,
    at: usize,
    owner: Option<usize>,
}

/// Returns the tenants in the file's order: no name twice, no owner shared by accident.
pub(super) fn resolve(
    source: Source<'_>,
    tables: &[Table<'_>],
    master_user: &str,
) -> Result<Vec<Tenant>, ConfigError> {
    let mut all: Vec<Written> = Vec::new();
    for table in tables {
        let written = read(source, table, master_user)?;
        for earlier in &all {
            tell_apart(earlier, &written).map_err(|(at, problem)| source.fail(at, problem))?;
        }
        all.push(written);
    }
    Ok(all.into_iter().map(|written| written.tenant).collect())
}

fn read(source: Source<'_>, table: &Table<'_>, master_user: &str) -> Result<Written, ConfigError> {
    let name = table.required("name")?;
    name::tenant(name.value).map_err(|problem| source.fail(name.at, problem))?;
    let owner = table.text("owner")?;
    let At { value: role, at } = owner.unwrap_or(name);
    name::role(role, master_user).map_err(|problem| source.fail(at, problem))?;
    let checked = |key, default, check: fn(&str) -> Result<(), Problem>| {
        let text = table.text(key)?.unwrap_or(At { value: default, at: name.at });
        check(text.value).map_err(|problem| source.fail(text.at, problem))?;
        Ok(text)
    };
    let purpose = checked("purpose", "", form::purpose)?;
    let locale = checked("locale", "en_US.UTF-8", form::locale)?;
    let encoding = table.text("encoding")?.unwrap_or(At { value: "UTF8", at: name.at });
    form::encoding(encoding.value, locale.value).map_err(|problem| source.fail(encoding.at, problem))?;
    let labels = table.texts("labels")?.map(|(_, texts)| migrate::labels(&texts)).transpose();
    let labels = labels.map_err(|(at, problem)| source.fail(at, problem))?.unwrap_or_default();
    let tenant = Tenant {
        name: name.value.to_owned(),
        purpose: purpose.value.to_owned(),
        owner: role.to_owned(),
        encoding: encoding.value.to_owned(),
        locale: locale.value.to_owned(),
        labels,
    };
    Ok(Written { tenant, at: name.at, owner: owner.map(|owner| owner.at) })
}

fn tell_apart(earlier: &Written, later: &Written) -> Result<(), (usize, Problem)> {
    let name = &later.tenant.name;
    if earlier.tenant.name == *name {
        let message = format!("tenant {} is there twice", shown(name));
        return Err((later.at, Problem::new(message, "remove one, or give it a name of its own")));
    }
    let owner = &later.tenant.owner;
    // A role that owns two databases can reach both: that must be meant by each of them.
    if earlier.tenant.owner == *owner && (earlier.owner.is_none() || later.owner.is_none()) {
        let message = format!("role {} owns tenant `{}` as well", shown(owner), earlier.tenant.name);
        let help = format!("to share it, write `owner = \"{owner}\"` in both tenants; else choose another");
        return Err((later.owner.unwrap_or(later.at), Problem::new(message, help)));
    }
    Ok(())
}
