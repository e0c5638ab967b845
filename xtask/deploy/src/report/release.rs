//! What a release did, for machines and for the page that GitHub shows of a run.

use std::fmt::Write as _;
use std::time::Duration;

use db::migrate::{Outcome, TenantReport};
use db::tenant::{Created, Verdict, Verification};
use serde::Serialize;

use crate::escape::markdown;
use crate::table;
use crate::text::{Text, put_line};
use crate::view::seconds;

/// What a release did. Each part is there as far as the release came.
#[derive(Debug, Default, Serialize)]
pub struct Release {
    /// The stack.
    pub stack: String,
    /// What became of the bastion: `ran`, `started`, `created`; then `kept`, `stopped`, `destroyed`, `left to others`.
    pub bastion: Vec<&'static str>,
    /// The tenants that are new.
    pub created: Vec<String>,
    /// The tenants that were there, but not as they should be, and what was mended.
    pub repaired: Vec<Change>,
    /// The tenants that have new migrations, and which.
    pub migrated: Vec<Change>,
    /// How many tenants had nothing to do.
    pub up_to_date: usize,
    /// How many tenants were proved to be as they should be.
    pub verified: usize,
    /// What failed, tenant by tenant.
    pub failed: Vec<Trouble>,
    /// Why the release ended early, if it did.
    pub error: Option<String>,
    /// The exit code.
    pub exit: u8,
    /// How long it took, in seconds, without the wait for another release.
    #[serde(serialize_with = "in_seconds")]
    pub elapsed: Duration,
}

/// What was done for one tenant.
#[derive(Debug, Serialize)]
pub struct Change {
    /// The tenant.
    pub tenant: String,
    /// What.
    pub what: Vec<String>,
}

/// Why one tenant is not as it should be.
#[derive(Debug, Serialize)]
pub struct Trouble {
    /// The tenant.
    pub tenant: String,
    /// In which part: `create`, `migrate`, `verify`.
    pub part: &'static str,
    /// What went wrong, with its causes.
    pub error: String,
}

fn in_seconds<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((time.as_secs_f64() * 1e3).round() / 1e3)
}

impl Release {
    /// Takes up what became of creating tenants.
    pub fn on_created(&mut self, created: &[Created]) {
        use db::tenant::Outcome as O;
        for one in created {
            let tenant = one.tenant.clone();
            match &one.outcome {
                O::Created => self.created.push(tenant),
                O::Repaired(what) => self.repaired.push(Change { tenant, what: what.clone() }),
                O::Failed(error) => self.fail(tenant, "create", error.chain()),
                O::NotStarted => self.fail(tenant, "create", "its turn did not come".to_owned()),
                O::Unchanged => {}
            }
            if !one.findings.is_empty() {
                self.fail(one.tenant.clone(), "create", one.findings.join("; "));
            }
        }
    }

    /// Takes up what became of migrating them.
    pub fn on_migrated(&mut self, reports: &[TenantReport]) {
        for TenantReport { tenant, outcome, .. } in reports {
            match outcome {
                Outcome::UpToDate => self.up_to_date += 1,
                Outcome::Applied { migrations } => {
                    self.migrated.push(Change { tenant: tenant.clone(), what: migrations.clone() });
                }
                Outcome::Failed { applied, .. } | Outcome::Interrupted { applied, .. } => {
                    if !applied.is_empty() {
                        self.migrated.push(Change { tenant: tenant.clone(), what: applied.clone() });
                    }
                    self.fail(tenant.clone(), "migrate", super::outcome(outcome));
                }
                Outcome::NotStarted { .. } => {
                    self.fail(tenant.clone(), "migrate", super::outcome(outcome));
                }
            }
        }
    }

    /// Takes up what became of verifying them.
    pub fn on_verified(&mut self, verifications: &[Verification]) {
        for one in verifications {
            let bad = one.checks.iter().filter(|check| check.verdict != Verdict::Pass);
            let bad: Vec<String> = bad.map(|check| format!("{}: {}", check.name, check.evidence)).collect();
            if one.verdict() == Verdict::Pass {
                self.verified += 1;
            } else {
                self.fail(one.tenant.clone(), "verify", bad.join("; "));
            }
        }
    }

    fn fail(&mut self, tenant: String, part: &'static str, error: String) {
        self.failed.push(Trouble { tenant, part, error });
    }

    /// Renders it for people.
    pub fn text(&self) -> Text {
        let mut text = Text::new();
        put_line!(text, "release of `{}`: {}, {}", self.stack, self.word(), seconds(self.elapsed));
        put_line!(text, "bastion: {}", self.bastion.join(", "));
        let rows = self.rows();
        if !rows.is_empty() {
            text.add(&table::render(&["tenant", "part", ""], &rows));
        }
        put_line!(text, "{} up to date, {} verified", self.up_to_date, self.verified);
        text
    }

    /// Renders it as GitHub's Markdown.
    pub fn markdown(&self) -> String {
        let mut text = format!("### Release of `{}`: {}\n\n", self.stack, self.word());
        let rows = self.rows();
        if !rows.is_empty() {
            text.push_str("| tenant | part | |\n|---|---|---|\n");
            for row in rows {
                let cells: Vec<String> = row.iter().map(|cell| markdown(cell)).collect();
                let _ = writeln!(text, "| {} |", cells.join(" | "));
            }
            text.push('\n');
        }
        let _ = writeln!(
            text,
            "{} up to date, {} verified, {}; bastion: {}",
            self.up_to_date,
            self.verified,
            seconds(self.elapsed),
            self.bastion.join(", ")
        );
        if let Some(error) = &self.error {
            let _ = writeln!(text, "\n**{}**", markdown(error));
        }
        text
    }

    fn word(&self) -> &'static str {
        if self.exit == 0 { "done" } else { "failed" }
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let created =
            self.created.iter().map(|tenant| vec![tenant.clone(), "create".to_owned(), "new".to_owned()]);
        let changes = |part: &'static str, changes: &'static str, list: &[Change]| -> Vec<Vec<String>> {
            let row = |change: &Change| {
                vec![change.tenant.clone(), part.to_owned(), format!("{changes}{}", change.what.join(", "))]
            };
            list.iter().map(row).collect()
        };
        let failed = self.failed.iter().map(|trouble| {
            vec![trouble.tenant.clone(), trouble.part.to_owned(), format!("failed: {}", trouble.error)]
        });
        created
            .chain(changes("create", "repaired: ", &self.repaired))
            .chain(changes("migrate", "", &self.migrated))
            .chain(failed)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_cannot_break_out_of_its_table() {
        let mut release = Release { stack: "shop".to_owned(), exit: 7, ..Release::default() };
        release.fail("a".to_owned(), "migrate", "line 3: `x` | <b>\n| y |".to_owned());
        let text = release.markdown();
        let row = text.lines().find(|line| line.starts_with("| a ")).unwrap();
        assert_eq!(row.matches('|').count(), 4, "{row}");
        assert!(!row.contains("<b>") && row.contains("&#60;b&#62;"), "{row}");
    }
}
