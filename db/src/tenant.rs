//! A tenant: a database of its own and the role that owns it.

mod catalog;
mod create;
mod drop;
mod ensure;
mod list;
pub mod registry;
mod tables;

use std::collections::HashMap;

use stack::Secret;
use stack::spec::is_clone_of;

use crate::{Error, Login, quote};

pub use self::drop::{Claim, DUMP_NAME, DropSpec, Dropped, RoleEnd, Survey, claim, drop, survey};
pub use catalog::{CatalogReport, Extension, Foreign, read_catalogs};
pub(crate) use catalog::{look_options, read_catalog};
pub use create::{Created, Outcome, create, create_until};
pub(crate) use list::observe;
pub use list::{TenantInfo, list};
pub use tables::{Table, Tables, tables};

pub use crate::verify::{Check, Verdict, Verification, differences, verify};

/// What a tenant is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantSpec {
    /// The database's name.
    pub name: String,
    /// The role that owns it; tenants may share one, if the configuration says so.
    pub owner: String,
    /// Who logs in: the owner, or its clone ([`role::ensure_clone`](crate::role::ensure_clone)).
    pub user: String,
    /// The user's password.
    pub password: Secret,
    /// What it is for, kept as the database's comment; empty for none.
    pub purpose: String,
    /// The encoding: `UTF8`.
    pub encoding: String,
    /// The locale of `LC_COLLATE` and `LC_CTYPE`: `en_US.UTF-8`.
    pub locale: String,
    /// The table of its migrations' history ([`migration::history_table`](crate::migration::history_table)).
    pub history: String,
}

impl TenantSpec {
    /// Returns a tenant in UTF-8 and American English, without a purpose.
    pub fn new(name: impl Into<String>, owner: impl Into<String>, password: Secret) -> TenantSpec {
        let owner = owner.into();
        TenantSpec {
            name: name.into(),
            user: owner.clone(),
            owner,
            password,
            purpose: String::new(),
            encoding: "UTF8".to_owned(),
            locale: "en_US.UTF-8".to_owned(),
            history: crate::migration::history_table(None),
        }
    }

    /// Returns how the tenant's user logs in to the tenant's database.
    pub fn login(&self) -> Login {
        Login { user: self.user.clone(), password: self.password.clone(), database: self.name.clone() }
    }
}

/// Accepts a set of tenants: names that PostgreSQL keeps as they are, no database twice, one password for each
/// role, and none of them the master's.
///
/// # Errors
/// [`Error::Name`] or [`Error::Spec`] for the first that is wrong.
pub fn check(tenants: &[TenantSpec], admin: &Login) -> Result<(), Error> {
    let mut names = HashMap::new();
    let mut owners: HashMap<&str, &TenantSpec> = HashMap::new();
    for tenant in tenants {
        let refuse = |reason: String| Err(Error::Spec { tenant: tenant.name.clone(), reason });
        quote::check_database(&tenant.name)?;
        quote::check_role(&tenant.owner)?;
        if names.insert(tenant.name.as_str(), ()).is_some() {
            return refuse("it is there twice".to_owned());
        }
        if tenant.owner == admin.user {
            return refuse(format!("its owner `{}` is the master", tenant.owner));
        }
        if tenant.password.expose().is_empty() || tenant.password.expose().contains('\0') {
            return refuse(format!("the password of role `{}` is empty or holds a zero", tenant.user));
        }
        if tenant.user != tenant.owner && !is_clone_of(&tenant.user, &tenant.owner) {
            return refuse(format!("`{}` is no user of role `{}`", tenant.user, tenant.owner));
        }
        if let Some(other) = owners.insert(&tenant.owner, tenant)
            && (&other.user, &other.password) != (&tenant.user, &tenant.password)
        {
            return refuse(format!("role `{}` has another password in `{}`", tenant.owner, other.name));
        }
    }
    Ok(())
}

fn subject(tenant: &str) -> String {
    format!("tenant {tenant}")
}
