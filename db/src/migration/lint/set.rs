//! What statements leave behind for those after them.

use super::phrase::Name;

/// What the set has made so far, and what its open transaction has done.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Tables, indexes and materialized views that the set creates.
    fresh: Vec<Name>,
    transaction: Transaction,
}

#[derive(Debug, Default)]
struct Transaction {
    /// Whether later files without a marker belong to it.
    is_open: bool,
    /// Values that were added to a type, as in the file: `'paid'`. Before PostgreSQL 17 it makes no difference that the
    /// type itself is as new.
    enum_values: Vec<String>,
    /// Constraints that were added NOT VALID, by table and name.
    not_valid: Vec<(Name, String)>,
}

impl State {
    /// Begins a transaction; what an earlier one did is committed.
    pub(super) fn begin(&mut self) {
        self.transaction = Transaction::default();
    }

    /// Begins a transaction that later files join, unless one is open.
    pub(super) fn join(&mut self) {
        if !self.transaction.is_open {
            self.transaction = Transaction { is_open: true, ..Transaction::default() };
        }
    }

    pub(super) fn create(&mut self, name: Name) {
        self.fresh.push(name);
    }

    pub(super) fn is_fresh(&self, name: &Name) -> bool {
        self.fresh.iter().any(|fresh| fresh.may_be(name))
    }

    pub(super) fn add_enum_value(&mut self, value: &str) {
        self.transaction.enum_values.push(value.to_owned());
    }

    pub(super) fn is_new_enum_value(&self, literal: &str) -> bool {
        self.transaction.enum_values.iter().any(|value| value == literal)
    }

    pub(super) fn add_not_valid(&mut self, table: &Name, constraint: String) {
        self.transaction.not_valid.push((table.clone(), constraint));
    }

    pub(super) fn is_not_valid(&self, table: &Name, constraint: &str) -> bool {
        self.transaction.not_valid.iter().any(|(of, name)| of.may_be(table) && name == constraint)
    }
}
