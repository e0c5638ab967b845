//! What is migrated: a tenant's database, and the files that are meant for it.

use std::sync::Arc;

use crate::migration::MigrationSet;
use crate::{Error, Login};

/// A tenant's database, and the set of migrations that is meant for it.
#[derive(Clone, Debug)]
pub struct Target {
    /// How the tenant's role logs in.
    pub login: Login,
    /// The set; tenants with the same set share it.
    pub set: Arc<MigrationSet>,
    /// Why nobody can log in, and the command that fixes it. The tenant fails with that when its turn comes; others go on.
    pub no_login: Option<String>,
}

impl Target {
    /// Returns a target for each login, all with the same set.
    pub fn all(logins: &[Login], set: MigrationSet) -> Vec<Target> {
        let set = Arc::new(set);
        let target = |login: &Login| Target { login: login.clone(), set: Arc::clone(&set), no_login: None };
        logins.iter().map(target).collect()
    }

    /// Checks that there is a login.
    ///
    /// # Errors
    /// [`Error::NoLogin`] if not.
    pub fn check_login(&self) -> Result<(), Error> {
        match &self.no_login {
            None => Ok(()),
            Some(reason) => {
                Err(Error::NoLogin { tenant: self.login.database.clone(), reason: reason.clone() })
            }
        }
    }
}
