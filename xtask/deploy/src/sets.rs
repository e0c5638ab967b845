//! Which migrations each tenant gets: the files that lie flat, or those of its set.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use db::Login;
use db::migrate::Target;
use db::migration::MigrationSet;
use stack::spec::Tenant;
use stack::{Events, Secret};

use crate::failure::Failure;

/// The sets of migrations under one folder that were read so far.
pub struct Sets {
    dir: PathBuf,
    events: Events,
    by_name: BTreeMap<Option<String>, Arc<MigrationSet>>,
}

impl Sets {
    /// Reads the sets of these tenants, or, while it is not known who they are, all that there are.
    ///
    /// # Errors
    /// Exit 2 if there is no such set, or a file cannot be used.
    pub fn load(dir: &Path, tenants: Option<&[Tenant]>, events: &Events) -> Result<Sets, Failure> {
        let mut sets = Sets { dir: dir.to_owned(), events: events.clone(), by_name: BTreeMap::new() };
        match tenants {
            Some(tenants) => {
                for tenant in tenants {
                    sets.get(tenant.migrations.as_deref())?;
                }
            }
            None => {
                sets.get(None)?;
                for name in db::migration::sets(dir)? {
                    sets.get(Some(&name))?;
                }
            }
        }
        Ok(sets)
    }

    /// Returns the tenants' databases, each with its set; `logins` are in the order of `tenants`, with why there is none.
    ///
    /// # Errors
    /// Exit 2 if a tenant has a set that is not there.
    pub fn targets(
        &mut self,
        tenants: &[Tenant],
        logins: Vec<Result<Login, String>>,
    ) -> Result<Vec<Target>, Failure> {
        let mut targets = Vec::with_capacity(tenants.len());
        for (tenant, login) in tenants.iter().zip(logins) {
            let set = self.get(tenant.migrations.as_deref())?;
            let (login, no_login) = match login {
                Ok(login) => (login, None),
                Err(reason) => {
                    let user = tenant.owner.clone();
                    let login = Login { user, password: Secret::new(""), database: tenant.name.clone() };
                    (login, Some(reason))
                }
            };
            targets.push(Target { login, set, no_login });
        }
        Ok(targets)
    }

    /// Returns the sets that were read, by name; the files that lie flat come first.
    pub fn all(&self) -> Vec<Arc<MigrationSet>> {
        self.by_name.values().cloned().collect()
    }

    fn get(&mut self, name: Option<&str>) -> Result<Arc<MigrationSet>, Failure> {
        let key = name.map(str::to_owned);
        if let Some(set) = self.by_name.get(&key) {
            return Ok(Arc::clone(set));
        }
        let set = Arc::new(db::migration::load_set(&self.dir, name)?);
        for gap in db::migration::gaps(&set.migrations) {
            let of = name.map(|name| format!(" in the set `{name}`")).unwrap_or_default();
            self.events.warn(format!("there is no migration V{gap}{of}"));
        }
        self.by_name.insert(key, Arc::clone(&set));
        Ok(set)
    }
}

/// Returns the set that all of them have, as a version means another file in each set.
///
/// # Errors
/// Exit 2 if they have several.
pub fn only(targets: &[Target]) -> Result<Arc<MigrationSet>, Failure> {
    let mut sets: BTreeMap<Option<&str>, &Arc<MigrationSet>> = BTreeMap::new();
    for target in targets {
        sets.insert(target.set.name.as_deref(), &target.set);
    }
    let names: Vec<String> = sets
        .keys()
        .map(|name| name.map_or("the files that lie flat".to_owned(), |name| format!("`{name}`")))
        .collect();
    match sets.into_values().next() {
        Some(set) if names.len() == 1 => Ok(Arc::clone(set)),
        Some(_) | None => Err(Failure::usage(format!(
            "these tenants have several sets of migrations: {}; a version is another file in each",
            names.join(", ")
        ))
        .hint("name the tenants of one set")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_only_taken_for_tenants_of_one_set() {
        let target = |name: Option<&str>| Target {
            login: Login {
                user: "a".to_owned(),
                password: stack::Secret::new("a"),
                database: "a".to_owned(),
            },
            set: Arc::new(MigrationSet { name: name.map(str::to_owned), ..MigrationSet::flat(Vec::new()) }),
            no_login: None,
        };
        let set = only(&[target(Some("shop")), target(Some("shop"))]).unwrap();
        assert_eq!(set.name.as_deref(), Some("shop"));
        let refused = only(&[target(Some("shop")), target(None)]).unwrap_err().render_text();
        assert!(refused.contains("the files that lie flat, `shop`"), "{refused}");
    }
}
