//! What the lint finds in a file.

use serde::Serialize;

use super::super::statement::line_of;
use super::comment::Comments;
use super::rule::{Rule, Severity};
use crate::Migration;

/// A statement that hurts a live table, or cannot work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule's id: `create-index`; those of other linters carry their name, `squawk/ban-drop-column`.
    pub rule: String,
    /// How bad it is.
    pub severity: Severity,
    /// The file: `V3__add_orders.sql`.
    pub file: String,
    /// The line, counted from 1.
    pub line: usize,
    /// What it does to a live table.
    pub effect: String,
    /// What to write instead.
    pub instead: String,
}

/// The findings of one file, as they come.
pub(super) struct Report<'a> {
    migration: &'a Migration,
    comments: Comments,
    statement: usize,
    findings: Vec<Finding>,
}

impl<'a> Report<'a> {
    pub(super) fn new(migration: &'a Migration, comments: Comments) -> Report<'a> {
        Report { migration, comments, statement: 0, findings: Vec::new() }
    }

    /// Goes on to the statement at this place: the exemptions of its comments hold from here on.
    pub(super) fn begin(&mut self, statement: usize) {
        self.statement = statement;
    }

    /// Returns the findings in the order of their lines.
    pub(super) fn finish(mut self) -> Vec<Finding> {
        self.findings.sort_by_key(|finding| finding.line);
        self.findings
    }

    /// Adds a finding at a byte of the file, unless the statement is exempt.
    pub(super) fn find(&mut self, rule: &Rule, at: usize) {
        if !self.comments.allow(self.statement, rule.id) {
            self.findings.push(Finding {
                rule: rule.id.to_owned(),
                severity: rule.severity,
                file: self.migration.file_name().to_owned(),
                line: line_of(self.migration.sql(), at),
                effect: rule.effect.to_owned(),
                instead: rule.instead.to_owned(),
            });
        }
    }
}
