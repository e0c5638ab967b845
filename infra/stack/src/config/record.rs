//! A tenant as a source writes it: a table of the stack file, a line of CSV, a row of a query. One set of rules for all.

use std::collections::HashMap;

use super::error::{Problem, shown};
use super::{form, migrate, name};
use crate::spec::{Rotation, Tenant, clone_of};

/// The columns that a source may have, in the order of documents; `name` must be there.
pub const FIELDS: [&str; 8] =
    ["name", "owner", "purpose", "encoding", "locale", "labels", "migrations", "rotation"];

/// One tenant as a source writes it; nothing is checked yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The database's name.
    pub name: String,
    /// The role that owns it; the tenant's own name if left out.
    pub owner: Option<String>,
    /// What it is for; nothing if left out.
    pub purpose: Option<String>,
    /// `UTF8` if left out.
    pub encoding: Option<String>,
    /// `en_US.UTF-8` if left out.
    pub locale: Option<String>,
    /// The groups that it belongs to.
    pub labels: Vec<String>,
    /// The set of migrations; the files that lie flat if left out.
    pub migrations: Option<String>,
    /// `one-user` if left out.
    pub rotation: Option<String>,
}

impl Record {
    /// Puts a text of a source without lists into a field: labels are separated by semicolons, and an empty text is a
    /// value left out.
    ///
    /// Returns `false` if there is no such field.
    pub fn set(&mut self, field: &str, text: &str) -> bool {
        let value = (!text.is_empty()).then(|| text.to_owned());
        match field {
            "name" => self.name = text.to_owned(),
            "owner" => self.owner = value,
            "purpose" => self.purpose = value,
            "encoding" => self.encoding = value,
            "locale" => self.locale = value,
            "labels" => {
                let labels = text.split(';').map(str::trim).filter(|label| !label.is_empty());
                self.labels = labels.map(str::to_owned).collect();
            }
            "migrations" => self.migrations = value,
            "rotation" => self.rotation = value,
            _ => return false,
        }
        true
    }
}

/// Why a record cannot be a tenant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}`: {message}")]
pub struct Fault {
    /// The record, counted from 0.
    pub record: usize,
    /// The field, one of [`FIELDS`].
    pub field: &'static str,
    /// The label, counted from 0, if it is one of the labels.
    pub item: Option<usize>,
    /// What is wrong with it.
    pub message: String,
    /// What would be right.
    pub help: String,
}

/// Returns the tenants that the records describe, in their order: no name twice, no owner shared by accident, also
/// not with the tenants that are `known` from another source.
///
/// # Errors
/// The first record and field that is wrong.
pub fn tenants(records: &[Record], known: &[Tenant], master_user: &str) -> Result<Vec<Tenant>, Fault> {
    let mut seen = Seen::default();
    for tenant in known {
        seen.note(tenant);
    }
    let mut tenants = Vec::with_capacity(records.len());
    for (place, record) in records.iter().enumerate() {
        let fault = |Wrong { field, item, problem: Problem { message, help } }| Fault {
            record: place,
            field,
            item,
            message,
            help,
        };
        let tenant = check(record, master_user).map_err(fault)?;
        seen.tell_apart(&tenant).map_err(fault)?;
        seen.note(&tenant);
        tenants.push(tenant);
    }
    Ok(tenants)
}

/// What is wrong with one record.
struct Wrong {
    field: &'static str,
    item: Option<usize>,
    problem: Problem,
}

fn check(record: &Record, master_user: &str) -> Result<Tenant, Wrong> {
    let at = |field: &'static str| move |problem| Wrong { field, item: None, problem };
    let or = |value: &Option<String>, default: &str| value.clone().unwrap_or_else(|| default.to_owned());
    let tenant = Tenant {
        name: record.name.clone(),
        purpose: or(&record.purpose, ""),
        owner: or(&record.owner, &record.name),
        owner_is_written: record.owner.is_some(),
        encoding: or(&record.encoding, "UTF8"),
        locale: or(&record.locale, "en_US.UTF-8"),
        labels: record.labels.clone(),
        migrations: record.migrations.clone(),
        rotation: record
            .rotation
            .as_deref()
            .map_or(Ok(Rotation::OneUser), form::rotation)
            .map_err(at("rotation"))?,
    };
    name::tenant(&tenant.name).map_err(at("name"))?;
    let owner = if tenant.owner_is_written { "owner" } else { "name" };
    name::role(&tenant.owner, master_user).map_err(at(owner))?;
    form::purpose(&tenant.purpose).map_err(at("purpose"))?;
    form::locale(&tenant.locale).map_err(at("locale"))?;
    form::encoding(&tenant.encoding, &tenant.locale).map_err(at("encoding"))?;
    if tenant.rotation == Rotation::TwoUsers {
        name::clone(&tenant.owner, master_user).map_err(at("rotation"))?;
    }
    migrate::labels(&tenant.labels).map_err(|(place, problem)| Wrong {
        field: "labels",
        item: Some(place),
        problem,
    })?;
    tenant.migrations.as_deref().map_or(Ok(()), name::migration_set).map_err(at("migrations"))?;
    Ok(tenant)
}

/// Names and owners so far.
#[derive(Default)]
struct Seen {
    names: HashMap<String, ()>,
    /// The first tenant of each owner.
    owners: HashMap<String, First>,
    /// The first tenant of each owner's clone.
    clones: HashMap<String, String>,
}

struct First {
    tenant: String,
    /// Whether it says itself who owns it.
    is_written: bool,
    rotation: Rotation,
}

impl Seen {
    fn note(&mut self, tenant: &Tenant) {
        self.names.insert(tenant.name.clone(), ());
        self.owners.entry(tenant.owner.clone()).or_insert_with(|| First {
            tenant: tenant.name.clone(),
            is_written: tenant.owner_is_written,
            rotation: tenant.rotation,
        });
        if tenant.rotation == Rotation::TwoUsers {
            self.clones.entry(clone_of(&tenant.owner)).or_insert_with(|| tenant.name.clone());
        }
    }

    fn tell_apart(&self, later: &Tenant) -> Result<(), Wrong> {
        let wrong = |field, problem| Err(Wrong { field, item: None, problem });
        let Tenant { name, owner, .. } = later;
        if self.names.contains_key(name) {
            let message = format!("tenant {} is there twice", shown(name));
            return wrong("name", Problem::new(message, "remove one, or give it a name of its own"));
        }
        // A role that owns two databases can reach both: that must be meant by each of them.
        let field = if later.owner_is_written { "owner" } else { "name" };
        let first = self.owners.get(owner);
        if let Some(First { tenant: earlier, is_written, .. }) = first
            && !(*is_written && later.owner_is_written)
        {
            let message = format!("role {} owns tenant `{earlier}` as well", shown(owner));
            let help =
                format!("to share it, write the owner (`{owner}`) in both tenants; else choose another");
            return wrong(field, Problem::new(message, help));
        }
        if let Some(First { tenant: earlier, rotation, .. }) = first
            && *rotation != later.rotation
        {
            let message = format!("role {} is rotated in another way in tenant `{earlier}`", shown(owner));
            return wrong("rotation", Problem::new(message, "write the same `rotation` in both tenants"));
        }
        if let Some(earlier) = self.clones.get(owner) {
            let message = format!("role {} is the second user of tenant `{earlier}`", shown(owner));
            return wrong(field, Problem::new(message, "give the tenant an owner of another name"));
        }
        let clone = clone_of(owner);
        if let Some(First { tenant: earlier, .. }) =
            self.owners.get(&clone).filter(|_| later.rotation == Rotation::TwoUsers)
        {
            let message = format!("its second user {} owns tenant `{earlier}`", shown(&clone));
            return wrong("rotation", Problem::new(message, "write `rotation = \"one-user\"`"));
        }
        Ok(())
    }
}
