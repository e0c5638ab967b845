//! Compares the files with the history: what is pending, what has changed, what came too late.

use std::collections::BTreeMap;

use serde::Serialize;

use super::history::Row;
use super::{connect, lock_and_read};
use crate::migration::{MigrationSet, Order};
use crate::{ConnectOptions, Error, Login, Migration, Server};

/// What is due in a tenant's database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TenantPlan {
    /// The tenant.
    pub tenant: String,
    /// What was applied, by version.
    pub applied: Vec<Applied>,
    /// What a run would apply, in order: `V3__add_orders`.
    pub pending: Vec<String>,
    /// Files that changed after they were applied.
    pub divergent: Vec<Divergence>,
    /// Versions that were applied and have no file.
    pub missing: Vec<String>,
    /// Files that came too late: a higher version is applied already.
    pub late: Vec<String>,
}

impl TenantPlan {
    /// Returns whether a run would do nothing.
    pub fn is_up_to_date(&self) -> bool {
        self.pending.is_empty() && self.problems().is_empty()
    }

    /// Returns why a run would refuse to begin, one line for each migration.
    pub fn problems(&self) -> Vec<String> {
        let mut problems: Vec<String> = Vec::new();
        problems.extend(self.divergent.iter().map(|Divergence { applied, file, .. }| {
            match applied == file {
                true => format!("`{file}` was changed after it was applied"),
                false => format!("`{file}` was applied as `{applied}`"),
            }
        }));
        problems.extend(self.missing.iter().map(|name| format!("`{name}` was applied and has no file")));
        problems
            .extend(self.late.iter().map(|name| format!("`{name}` is older than what was applied already")));
        problems
    }
}

/// A migration that was applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// Its version.
    pub version: i32,
    /// Its name.
    pub name: String,
    /// When, as refinery wrote it: RFC 3339, UTC.
    pub applied_on: String,
}

/// A file that is not what was applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Divergence {
    /// The version of both.
    pub version: i32,
    /// What was applied, from the history.
    pub applied: String,
    /// The file.
    pub file: String,
}

/// What happens to files that are older than what was applied already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutOfOrder {
    /// The tenant is refused.
    #[default]
    Refuse,
    /// They are applied, in the order of their versions, before what is newer.
    Apply,
}

/// Returns what of the set is due in the database of `login`, which is the tenant's own. Writes nothing, takes no lock.
///
/// # Errors
/// Those of [`connect`](crate::connect); [`Error::Statement`], [`Error::History`] and [`Error::Misplaced`] if the history
/// cannot be read.
pub async fn plan(server: &Server, login: &Login, set: &MigrationSet) -> Result<TenantPlan, Error> {
    let session = connect(server, login, &ConnectOptions::default()).await?;
    let looked = lock_and_read::look(&session, &login.database, &set.table).await;
    session.close().await;
    Ok(compare(&login.database, &looked?, &set.migrations, OutOfOrder::Refuse).plan)
}

/// A plan, and the places of what is pending in the list of files.
pub(super) struct Compared {
    pub(super) plan: TenantPlan,
    pub(super) pending: Vec<usize>,
}

impl Compared {
    /// Refuses a tenant whose history does not fit the files.
    pub(super) fn accept(self) -> Result<Compared, Error> {
        let problems = self.plan.problems();
        if problems.is_empty() {
            return Ok(self);
        }
        Err(Error::Diverged { tenant: self.plan.tenant, problems })
    }
}

/// Compares as refinery does with `abort_divergent` and `abort_missing`, but names everything, not the first.
pub(super) fn compare(tenant: &str, history: &[Row], migrations: &[Migration], late: OutOfOrder) -> Compared {
    let mut plan = TenantPlan { tenant: tenant.to_owned(), ..TenantPlan::default() };
    let files: BTreeMap<i32, (usize, &Migration)> =
        migrations.iter().enumerate().map(|(at, file)| (file.version(), (at, file))).collect();
    let applied: BTreeMap<i32, &Row> = history.iter().map(|row| (row.version, row)).collect();
    let newest = applied.keys().next_back().copied();

    for row in applied.values() {
        let name = format!("V{}__{}", row.version, row.name);
        match files.get(&row.version) {
            None => plan.missing.push(name),
            Some((_, file)) if file.checksum() != row.checksum || file.name() != row.name => plan
                .divergent
                .push(Divergence { version: row.version, applied: name, file: file.to_string() }),
            Some(_) => {}
        }
    }
    let mut pending = Vec::new();
    for (version, (at, file)) in files {
        if applied.contains_key(&version) {
            continue;
        }
        let is_late = file.order() == Order::Versioned && newest.is_some_and(|newest| newest >= version);
        if is_late && late == OutOfOrder::Refuse {
            plan.late.push(file.to_string());
        } else {
            plan.pending.push(file.to_string());
            pending.push(at);
        }
    }
    plan.applied = history
        .iter()
        .map(|row| Applied {
            version: row.version,
            name: row.name.clone(),
            applied_on: row.applied_on.clone(),
        })
        .collect();
    Compared { plan, pending }
}

#[cfg(test)]
mod tests {
    use super::{OutOfOrder, Row, TenantPlan};
    use crate::Migration;
    use crate::migration::parse;

    fn file(name: &str) -> Migration {
        parse(&format!("{name}.sql"), b"SELECT 1;\n").unwrap()
    }

    fn compare(tenant: &str, history: Vec<Row>, files: &[Migration]) -> TenantPlan {
        super::compare(tenant, &history, files, OutOfOrder::Refuse).plan
    }

    fn row(file: &Migration) -> Row {
        Row {
            version: file.version(),
            name: file.name().to_owned(),
            applied_on: "2026-01-01T00:00:00Z".to_owned(),
            checksum: file.checksum(),
        }
    }

    #[test]
    fn an_empty_history_makes_everything_pending() {
        let files = [file("V1__a"), file("V2__b")];
        let plan = compare("t", vec![], &files);
        assert_eq!(plan.pending, ["V1__a", "V2__b"]);
        assert!(plan.problems().is_empty() && !plan.is_up_to_date());
    }

    #[test]
    fn a_full_history_leaves_nothing_to_do() {
        let files = [file("V1__a"), file("V2__b")];
        assert!(compare("t", files.iter().map(row).collect(), &files).is_up_to_date());
    }

    #[test]
    fn a_file_changed_after_it_was_applied_is_divergent() {
        let was = parse("V1__a.sql", b"SELECT 2;\n").unwrap();
        let plan = compare("t", vec![row(&was)], &[file("V1__a")]);
        assert_eq!(plan.divergent.len(), 1);
        assert!(plan.pending.is_empty() && !plan.is_up_to_date());
    }

    #[test]
    fn a_file_that_vanished_is_missing_and_one_that_came_late_is_late() {
        let plan = compare("t", vec![row(&file("V2__b"))], &[file("V1__a"), file("V3__c")]);
        assert_eq!(plan.missing, ["V2__b"]);
        assert_eq!(plan.late, ["V1__a"]);
        assert_eq!(plan.pending, ["V3__c"]);
        assert_eq!(plan.problems().len(), 2);
    }

    #[test]
    fn an_unversioned_file_is_never_late() {
        let plan = compare("t", vec![row(&file("V2__b"))], &[file("U1__a"), file("V2__b")]);
        assert_eq!(plan.pending, ["U1__a"]);
        assert!(plan.late.is_empty());
    }

    #[test]
    fn a_late_file_that_is_allowed_comes_before_what_is_newer() {
        let files = [file("V1__a"), file("V2__b"), file("V3__c")];
        let compared = super::compare("t", &[row(&files[1])], &files, OutOfOrder::Apply);
        assert_eq!(compared.pending, [0, 2]);
        assert_eq!(compared.plan.pending, ["V1__a", "V3__c"]);
        assert!(compared.accept().is_ok());
    }
}
