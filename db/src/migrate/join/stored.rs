//! A tenant's report as the table keeps it: nothing but what is shown to people anyway.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::outcome::{Outcome, SkipReason, TenantReport};
use crate::Error;
use crate::error::Recorded;

/// A row of the table, as a runner writes it.
#[derive(Debug, Serialize)]
pub(super) struct Entry {
    pub(super) tenant: String,
    /// Which taking of the tenant it is about: a runner that lost its lease must not write over another's.
    attempts: i32,
    state: &'static str,
    report: Stored,
}

impl Entry {
    pub(super) fn new(report: &TenantReport, attempts: i32) -> Entry {
        let state = match &report.outcome {
            Outcome::UpToDate | Outcome::Applied { .. } => "done",
            Outcome::Failed { .. } => "failed",
            // Somebody else may go on at once.
            Outcome::Interrupted { .. } | Outcome::NotStarted { .. } => "todo",
        };
        Entry { tenant: report.tenant.clone(), attempts, state, report: Stored::new(report) }
    }
}

/// What became of a tenant.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Stored {
    outcome: StoredOutcome,
    elapsed_ms: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum StoredOutcome {
    UpToDate,
    Applied { migrations: Vec<String> },
    Failed { applied: Vec<String>, migration: Option<String>, error: Vec<String> },
    Interrupted { applied: Vec<String>, state: String },
    NotStarted { reason: SkipReason },
}

impl Stored {
    fn new(report: &TenantReport) -> Stored {
        let outcome = match &report.outcome {
            Outcome::UpToDate => StoredOutcome::UpToDate,
            Outcome::Applied { migrations } => StoredOutcome::Applied { migrations: migrations.clone() },
            Outcome::Failed { applied, migration, error } => StoredOutcome::Failed {
                applied: applied.clone(),
                migration: migration.clone(),
                error: causes(error),
            },
            Outcome::Interrupted { applied, state } => {
                StoredOutcome::Interrupted { applied: applied.clone(), state: state.clone() }
            }
            Outcome::NotStarted { reason } => StoredOutcome::NotStarted { reason: *reason },
        };
        Stored { outcome, elapsed_ms: u64::try_from(report.elapsed.as_millis()).unwrap_or(u64::MAX) }
    }

    pub(super) fn withheld(reason: SkipReason) -> Stored {
        Stored { outcome: StoredOutcome::NotStarted { reason }, elapsed_ms: 0 }
    }

    pub(super) fn report(self, tenant: String) -> TenantReport {
        let outcome = match self.outcome {
            StoredOutcome::UpToDate => Outcome::UpToDate,
            StoredOutcome::Applied { migrations } => Outcome::Applied { migrations },
            StoredOutcome::Failed { applied, migration, error } => {
                Outcome::Failed { applied, migration, error: Error::Recorded(Recorded::new(error)) }
            }
            StoredOutcome::Interrupted { applied, state } => Outcome::Interrupted { applied, state },
            StoredOutcome::NotStarted { reason } => Outcome::NotStarted { reason },
        };
        TenantReport { tenant, outcome, elapsed: Duration::from_millis(self.elapsed_ms) }
    }
}

/// Returns the error and its causes, one text each, without what the server's JSON cannot hold.
fn causes(error: &Error) -> Vec<String> {
    let mut texts = vec![error.to_string()];
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        texts.push(cause.to_string());
        next = cause.source();
    }
    texts.into_iter().map(|text| text.replace('\0', "\u{fffd}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_reads_the_same_after_it_was_stored() {
        let source = crate::Refusal {
            severity: "ERROR".to_owned(),
            sqlstate: "42601".to_owned(),
            message: "syntax error \"\0\"".to_owned(),
            detail: None,
            hint: Some("mend it".to_owned()),
            context: None,
            position: None,
        };
        let error = Error::Migration {
            tenant: "shop".to_owned(),
            migration: "V1__a".to_owned(),
            line: Some(3),
            source: source.into(),
        };
        let chain = error.chain().replace('\0', "\u{fffd}");
        let outcome = Outcome::Failed { applied: vec![], migration: Some("V1__a".to_owned()), error };
        let report = TenantReport { tenant: "shop".to_owned(), outcome, elapsed: Duration::from_millis(7) };
        let entry = Entry::new(&report, 1);
        assert_eq!(entry.state, "failed");
        let text = serde_json::to_string(&entry.report).unwrap();
        let read = serde_json::from_str::<Stored>(&text).unwrap().report("shop".to_owned());
        let Outcome::Failed { error, migration, .. } = read.outcome else { panic!("{text}") };
        assert_eq!((error.chain(), migration.as_deref()), (chain, Some("V1__a")));
        assert!(error.to_string().ends_with("failed in line 3"), "{error}");
        assert_eq!(read.elapsed, Duration::from_millis(7));
    }
}
