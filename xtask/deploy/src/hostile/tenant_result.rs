//! Results about tenants: migrations, releases, findings in files.

use std::sync::Arc;
use std::time::Duration;

use db::migrate::{Applied, Divergence, Outcome, SkipReason, TenantPlan, TenantReport};
use db::migration::lint;
use db::tenant::{Check, Created, Verdict, Verification};
use proptest::prelude::*;

use super::{acting, error, hostile, is_page, is_result, is_text};
use crate::report::migration_status::{MigrationStatus, Seen};
use crate::report::release::Release;
use crate::report::{self, html, junit};
use crate::task::migrate::{lint as lint_task, status as status_task};
use crate::text::Text;

fn reports(text: &str) -> Vec<TenantReport> {
    let some = vec![text.to_owned()];
    let outcomes = [
        Outcome::UpToDate,
        Outcome::Applied { migrations: some.clone() },
        Outcome::Failed { applied: some.clone(), migration: Some(text.to_owned()), error: error(text) },
        Outcome::Interrupted { applied: some, state: text.to_owned() },
        Outcome::NotStarted { reason: SkipReason::ErrorBudget },
    ];
    let report =
        |outcome| TenantReport { tenant: "tenant".to_owned(), outcome, elapsed: Duration::from_secs(1) };
    outcomes.into_iter().map(report).collect()
}

fn seen(text: &str) -> Vec<Seen> {
    let one = || text.to_owned();
    let plan = TenantPlan {
        tenant: one(),
        applied: vec![Applied { version: 1, name: one(), applied_on: one() }],
        pending: vec![one()],
        divergent: vec![Divergence { version: 1, applied: one(), file: one() }],
        missing: vec![one()],
        late: vec![one()],
    };
    let of = |plan| Seen {
        tenant: "tenant".to_owned(),
        labels: vec![one()],
        set: Some(one()),
        plan,
        extensions: Vec::new(),
        drift: vec![one()],
    };
    vec![of(Ok(plan)), of(Err(one())), of(Err(one()))]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn every_result_about_tenants_is_text_json_and_a_page(text in hostile()) {
        let reports = reports(&text);
        for report in &reports {
            is_result(&Text::of(report::outcome(&report.outcome)), report)?;
        }
        let xml = junit::junit_joined(&reports, &[Some(text.clone()), Some(text.clone())], Duration::ZERO);
        prop_assert_eq!(acting(&xml), None, "{}", xml);
        let parsed = roxmltree::Document::parse(&xml).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(parsed.descendants().filter(|node| node.has_tag_name("testcase")).count(), 5);

        let sets = [Arc::new(db::migration::MigrationSet::flat(report::migration_status::tests::files(2)))];
        let status = MigrationStatus::new(&text, text.clone(), &sets, seen(&text));
        is_result(&status_task::render(&status), &status)?;
        is_page(&html::html(&status))?;
    }

    #[test]
    fn a_release_is_text_json_and_markdown(text in hostile()) {
        let mut release = Release { stack: "shop".to_owned(), exit: 7, error: Some(text.clone()), ..Release::default() };
        release.on_migrated(&reports(&text));
        let outcome = db::tenant::Outcome::Failed(error(&text));
        release.on_created(&[Created { tenant: "tenant".to_owned(), outcome, findings: vec![text.clone()] }]);
        let check = Check { name: "owner", verdict: Verdict::Fail, evidence: text.clone() };
        release.on_verified(&[Verification { tenant: "tenant".to_owned(), checks: vec![check] }]);
        is_result(&release.text(), &release)?;
        let markdown = release.markdown();
        is_text(&markdown)?;
        prop_assert!(!markdown.contains(['<', '[', '!', '\\', '$', '@']), "{}", markdown);
        prop_assert_eq!(markdown.matches('`').count(), 2, "{}", markdown);
        let rows: Vec<&str> = markdown.lines().filter(|line| line.contains('|')).collect();
        prop_assert_eq!(rows.len(), 2 + release.text().split('\n').count() - 4, "{}", markdown);
        prop_assert!(rows.iter().all(|row| row.matches('|').count() == 4), "{}", markdown);
    }

    #[test]
    fn every_finding_of_a_file_is_text_and_json(text in hostile()) {
        let shown = [lint::Finding {
            rule: text.clone(),
            severity: lint::Severity::Error,
            file: text.clone(),
            line: 1,
            effect: text.clone(),
            instead: text.clone(),
        }];
        is_result(&lint_task::render(&shown, 1), &shown)?;
    }
}
