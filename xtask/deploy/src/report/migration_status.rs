//! Tenants by versions: who has which migration, and who differs in what.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use db::migrate::TenantPlan;
use db::migration::MigrationSet;
use db::tenant::Extension;
use serde::Serialize;

/// Tenants by versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MigrationStatus {
    /// The stack's name.
    pub stack: String,
    /// When it was looked at: RFC 3339, UTC.
    pub observed_at: String,
    /// The columns, by set and version; the files that lie flat come first.
    pub migrations: Vec<Column>,
    /// The rows, in the order of the configuration.
    pub tenants: Vec<Row>,
}

/// What tenants of a group have in common: state, set, cells, and notes without their names.
type Likeness<'a> = (State, Option<&'a str>, &'a [Cell], Vec<String>);

/// One migration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Column {
    /// The set that it belongs to; nothing for the files that lie flat.
    pub set: Option<String>,
    /// Its version.
    pub version: i32,
    /// As its file is named, or as the history calls it: `V3__add_orders`.
    pub name: String,
    /// Whether there is a file.
    pub has_file: bool,
}

impl Column {
    /// Returns its name, behind that of its set: `webshop/V3__add_orders`.
    pub fn title(&self) -> String {
        match &self.set {
            Some(set) => format!("{set}/{}", self.name),
            None => self.name.clone(),
        }
    }
}

/// One tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Its name.
    pub tenant: String,
    /// Its labels.
    pub labels: Vec<String>,
    /// Its set of migrations; nothing for the files that lie flat.
    pub set: Option<String>,
    /// The worst of what is known of it.
    pub state: State,
    /// One for each column.
    pub cells: Vec<Cell>,
    /// The extensions of its database.
    pub extensions: Vec<Extension>,
    /// What a run would refuse, and where the database is not as configured.
    pub drift: Vec<String>,
    /// Why it could not be looked at.
    pub error: Option<String>,
}

/// The worst of what is known of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It could not be looked at.
    Failed,
    /// It differs from files or configuration.
    Drift,
    /// A run would apply something.
    Pending,
    /// There is nothing to do.
    UpToDate,
}

impl State {
    /// Every state, the worst first.
    pub const ALL: [State; 4] = [State::Failed, State::Drift, State::Pending, State::UpToDate];

    /// Returns it in words.
    pub fn label(self) -> &'static str {
        match self {
            State::Failed => "failed",
            State::Drift => "drift",
            State::Pending => "pending",
            State::UpToDate => "up to date",
        }
    }
}

/// What a tenant has of a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cell {
    /// It is applied, and its file is the same.
    Applied,
    /// A run would apply it.
    Pending,
    /// It is applied, and its file was changed since.
    Changed,
    /// It is applied and has no file.
    NoFile,
    /// It is older than what was applied already.
    #[serde(rename = "late")]
    OutOfOrder,
    /// It is not for this tenant, or nothing is known.
    None,
}

/// What was seen of a tenant.
#[derive(Debug)]
pub struct Seen {
    /// Its name.
    pub tenant: String,
    /// Its labels.
    pub labels: Vec<String>,
    /// Its set of migrations.
    pub set: Option<String>,
    /// What is due in it, or why that is not known.
    pub plan: Result<TenantPlan, String>,
    /// Its extensions.
    pub extensions: Vec<Extension>,
    /// Where its database is not as configured.
    pub drift: Vec<String>,
}

impl MigrationStatus {
    /// Returns the status of what was seen; `sets` hold the files.
    pub fn new(
        stack: &str,
        observed_at: String,
        sets: &[Arc<MigrationSet>],
        seen: Vec<Seen>,
    ) -> MigrationStatus {
        let mut columns: BTreeMap<(Option<String>, i32), Column> = BTreeMap::new();
        for one in &seen {
            for applied in one.plan.iter().flat_map(|plan| &plan.applied) {
                let (set, version) = (one.set.clone(), applied.version);
                let name = format!("V{version}__{}", applied.name);
                let column = Column { set: set.clone(), version, name, has_file: false };
                columns.entry((set, version)).or_insert(column);
            }
        }
        for set in sets {
            for file in &set.migrations {
                let (set, version) = (set.name.clone(), file.version());
                let column = Column { set: set.clone(), version, name: file.to_string(), has_file: true };
                columns.insert((set, version), column);
            }
        }
        let columns: Vec<Column> = columns.into_values().collect();
        let tenants = seen.into_iter().map(|one| row(one, &columns)).collect();
        MigrationStatus { stack: stack.to_owned(), observed_at, migrations: columns, tenants }
    }

    /// Returns the tenants that are alike in everything but their names: places in the status. The worst come first,
    /// else those that are alone, for they are looked for.
    pub fn groups(&self) -> Vec<Vec<usize>> {
        let mut places: HashMap<Likeness<'_>, usize> = HashMap::new();
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for (place, row) in self.tenants.iter().enumerate() {
            let alike = (row.state, row.set.as_deref(), row.cells.as_slice(), row.anonymous_notes());
            let group = *places.entry(alike).or_insert(groups.len());
            match groups.get_mut(group) {
                Some(group) => group.push(place),
                None => groups.push(vec![place]),
            }
        }
        groups.sort_by_key(|group| (self.tenants[group[0]].state, group.len(), group[0]));
        groups
    }

    /// Returns how many tenants are in a state.
    pub fn count(&self, state: State) -> usize {
        self.tenants.iter().filter(|row| row.state == state).count()
    }

    /// Returns how many of the first columns are applied in every tenant that could be looked at: history, of which
    /// there is nothing to tell.
    pub fn common(&self) -> usize {
        let known: Vec<&Row> = self.tenants.iter().filter(|row| row.error.is_none()).collect();
        let is_common = |column: &usize| known.iter().all(|row| row.cells[*column] == Cell::Applied);
        if known.is_empty() { 0 } else { (0..self.migrations.len()).take_while(is_common).count() }
    }
}

impl Row {
    /// Returns why it could not be looked at, or what it differs in.
    pub fn notes(&self) -> Vec<String> {
        self.error.iter().chain(&self.drift).cloned().collect()
    }

    /// Returns the same without its own name, so that thousands that fail for one reason say one thing.
    pub fn anonymous_notes(&self) -> Vec<String> {
        let own = format!("`{}`", self.tenant);
        self.notes().iter().map(|note| note.replace(&own, "`..`")).collect()
    }
}

fn row(seen: Seen, columns: &[Column]) -> Row {
    let Seen { tenant, labels, set, plan, extensions, drift: mut differences } = seen;
    let (cells, mut drift, error) = match plan {
        Ok(plan) => (cells(&plan, set.as_deref(), columns), plan.problems(), None),
        Err(error) => (vec![Cell::None; columns.len()], Vec::new(), Some(error)),
    };
    drift.append(&mut differences);
    let state = if error.is_some() {
        State::Failed
    } else if !drift.is_empty() {
        State::Drift
    } else if cells.contains(&Cell::Pending) {
        State::Pending
    } else {
        State::UpToDate
    };
    Row { tenant, labels, set, state, cells, extensions, drift, error }
}

fn cells(plan: &TenantPlan, set: Option<&str>, columns: &[Column]) -> Vec<Cell> {
    let cell = |column: &Column| {
        if column.set.as_deref() != set {
            return Cell::None;
        }
        let is_applied = plan.applied.iter().any(|applied| applied.version == column.version);
        match is_applied {
            true if plan.divergent.iter().any(|one| one.version == column.version) => Cell::Changed,
            true if !column.has_file => Cell::NoFile,
            true => Cell::Applied,
            false if plan.pending.contains(&column.name) => Cell::Pending,
            false if plan.late.contains(&column.name) => Cell::OutOfOrder,
            false => Cell::None,
        }
    };
    columns.iter().map(cell).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use db::Migration;
    use db::migrate::{Applied, Divergence};
    use db::migration::parse;

    use super::*;

    pub(crate) fn files(count: i32) -> Vec<Migration> {
        (1..=count)
            .map(|version| parse(&format!("V{version}__m{version}.sql"), b"SELECT 1;\n").unwrap())
            .collect()
    }

    /// Returns a tenant that has the first `applied` of `files`, and nothing wrong with it.
    pub(crate) fn tenant(name: &str, files: i32, applied: i32) -> Seen {
        let plan = TenantPlan {
            tenant: name.to_owned(),
            applied: (1..=applied)
                .map(|version| Applied {
                    version,
                    name: format!("m{version}"),
                    applied_on: "2026-01-01T00:00:00Z".to_owned(),
                })
                .collect(),
            pending: (applied + 1..=files).map(|version| format!("V{version}__m{version}")).collect(),
            ..TenantPlan::default()
        };
        Seen {
            tenant: name.to_owned(),
            labels: Vec::new(),
            set: None,
            plan: Ok(plan),
            extensions: Vec::new(),
            drift: Vec::new(),
        }
    }

    pub(crate) fn status(files: &[Migration], seen: Vec<Seen>) -> MigrationStatus {
        let sets = [Arc::new(MigrationSet::flat(files.to_vec()))];
        MigrationStatus::new("shop-prod", "2026-11-25T03:00:00Z".to_owned(), &sets, seen)
    }

    #[test]
    fn each_cell_tells_what_a_tenant_has_of_a_migration() {
        let mut odd = tenant("odd", 3, 2);
        let plan = odd.plan.as_mut().unwrap();
        plan.divergent =
            vec![Divergence { version: 1, applied: "V1__m1".to_owned(), file: "V1__m1".to_owned() }];
        plan.applied.push(Applied { version: 9, name: "gone".to_owned(), applied_on: String::new() });
        plan.missing = vec!["V9__gone".to_owned()];
        plan.late = std::mem::take(&mut plan.pending);
        let broken = Seen { plan: Err("no connection".to_owned()), ..tenant("broken", 3, 0) };
        let status = status(&files(3), vec![tenant("fine", 3, 3), odd, tenant("new", 3, 1), broken]);
        let columns: Vec<_> = status.migrations.iter().map(|one| (one.name.as_str(), one.has_file)).collect();
        assert_eq!(columns, [("V1__m1", true), ("V2__m2", true), ("V3__m3", true), ("V9__gone", false)]);
        use Cell as C;
        assert_eq!(status.tenants[0].cells, [C::Applied, C::Applied, C::Applied, C::None]);
        assert_eq!(status.tenants[1].cells, [C::Changed, C::Applied, C::OutOfOrder, C::NoFile]);
        assert_eq!(status.tenants[2].cells, [C::Applied, C::Pending, C::Pending, C::None]);
        assert_eq!(status.tenants[3].cells, [C::None; 4]);
        let states: Vec<State> = status.tenants.iter().map(|row| row.state).collect();
        assert_eq!(states, [State::UpToDate, State::Drift, State::Pending, State::Failed]);
        assert_eq!(status.tenants[1].drift.len(), 3);
        assert_eq!(status.common(), 0);
    }

    #[test]
    fn tenants_that_are_alike_are_one_group_and_the_worst_come_first() {
        let mut seen: Vec<Seen> = (0..5).map(|n| tenant(&format!("t{n}"), 2, 2)).collect();
        seen.push(tenant("behind", 2, 1));
        seen.push(Seen { drift: vec!["owner".to_owned()], ..tenant("other", 2, 2) });
        for name in ["x", "y"] {
            let plan = Err(format!("cannot connect to database `{name}`"));
            seen.push(Seen { plan, ..tenant(name, 2, 0) });
        }
        let status = status(&files(2), seen);
        assert_eq!(status.groups(), [vec![7, 8], vec![6], vec![5], vec![0, 1, 2, 3, 4]]);
        assert_eq!(status.tenants[7].anonymous_notes(), ["cannot connect to database `..`"]);
        assert_eq!((status.count(State::UpToDate), status.common()), (5, 1));
    }

    #[test]
    fn the_same_version_of_two_sets_is_two_columns_and_nobody_has_anothers() {
        let webshop = MigrationSet { name: Some("webshop".to_owned()), ..MigrationSet::flat(files(1)) };
        let sets = [Arc::new(MigrationSet::flat(files(2))), Arc::new(webshop)];
        let shop = Seen { set: Some("webshop".to_owned()), ..tenant("shop", 1, 1) };
        let seen = vec![tenant("flat", 2, 1), shop];
        let status = MigrationStatus::new("s", String::new(), &sets, seen);
        let titles: Vec<String> = status.migrations.iter().map(Column::title).collect();
        assert_eq!(titles, ["V1__m1", "V2__m2", "webshop/V1__m1"]);
        use Cell as C;
        assert_eq!(status.tenants[0].cells, [C::Applied, C::Pending, C::None]);
        assert_eq!(status.tenants[1].cells, [C::None, C::None, C::Applied]);
        assert_eq!(status.tenants[1].state, State::UpToDate);
    }
}
