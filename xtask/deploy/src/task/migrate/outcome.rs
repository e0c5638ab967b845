//! The outcome of a run: printed, turned into an exit code, and written for CI.

use std::time::Duration;

use db::migrate::{Outcome, SkipReason, TenantReport};
use serde_json::json;

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::report::{self, junit};
use crate::text::{Text, put_line};
use crate::{tenants, view};

/// Prints the outcome of each tenant, and writes the report for CI.
pub(super) fn tell(
    context: &Context,
    args: &xtask::Migrate,
    reports: &[TenantReport],
    elapsed: Duration,
) -> Result<(), Failure> {
    let shown = show(context, reports);
    let written =
        args.junit.as_ref().map_or(Ok(()), |file| report::write(file, &junit::junit(reports, elapsed)));
    report::after(context, shown, written)
}

/// Prints the outcome of each tenant.
fn show(context: &Context, reports: &[TenantReport]) -> Result<(), Failure> {
    let mut text = Text::new();
    // Failures and the total come last: a terminal shows the end of a long list.
    let (failures, done): (Vec<_>, Vec<_>) = reports.iter().partition(|report| !is_done(report));
    for report in done.iter().chain(&failures) {
        put_line!(text, "{}: {}", report.tenant, report::outcome(&report.outcome));
    }
    if reports.len() > 1 {
        text.line(total(reports));
    }
    view::result(context.json, &text, &json!({ "tenants": reports, "failed": failed(reports) }))?;
    judge(reports)
}

/// Tells whether every tenant is migrated.
///
/// # Errors
/// Exit 6 or 7 if all or some tenants failed or were held back, 130 if the run was interrupted.
pub fn judge(reports: &[TenantReport]) -> Result<(), Failure> {
    let is_interrupted = |report: &TenantReport| {
        matches!(
            report.outcome,
            Outcome::Interrupted { .. }
                | Outcome::NotStarted { reason: SkipReason::Interrupted | SkipReason::Elsewhere }
        )
    };
    if reports.iter().any(is_interrupted) {
        return Err(Failure::new(Exit::Interrupted, anyhow::Error::msg("interrupted while migrating"))
            .hint("run the same again: it goes on from there, and what is done costs one round trip"));
    }
    let is_refused = |report: &&TenantReport| matches!(&report.outcome, Outcome::Failed { error, .. } if tenants::is_shut_out(error));
    let is_cut_off = |report: &TenantReport| {
        matches!(&report.outcome, Outcome::Failed { error: db::Error::Dial { .. }, .. })
    };
    tenants::verdict(failed(reports), reports.len()).map_err(|mut failure| {
        let refused: Vec<&str> = reports.iter().filter(is_refused).map(|one| one.tenant.as_str()).collect();
        if !refused.is_empty() {
            failure = failure
                .hint(format!(
                    "`cargo xtask tenant create {}` makes what is missing, and has the server know the password in \
                     the secret",
                    refused.join(" ")
                ))
                // Secrets of many roles are read together, and only the versions that are current.
                .hint("a rotation that was cut off is finished by `cargo xtask secret rotate ROLE`");
        }
        if reports.iter().any(is_cut_off) {
            failure = failure.hint(
                "`cargo xtask doctor` says why there is no connection; the same again goes on from here",
            );
        }
        failure
    })
}

pub(super) fn failed(reports: &[TenantReport]) -> usize {
    reports.iter().filter(|report| !is_done(report)).count()
}

fn is_done(report: &TenantReport) -> bool {
    matches!(report.outcome, Outcome::UpToDate | Outcome::Applied { .. })
}

/// Renders the number of tenants by outcome, without zeros: `19 migrated, 1 failed`.
fn total(reports: &[TenantReport]) -> String {
    let count = |is: fn(&Outcome) -> bool| reports.iter().filter(|report| is(&report.outcome)).count();
    let counts = [
        (count(|outcome| matches!(outcome, Outcome::Applied { .. })), "migrated"),
        (count(|outcome| matches!(outcome, Outcome::UpToDate)), "up to date"),
        (count(|outcome| matches!(outcome, Outcome::Interrupted { .. })), "interrupted"),
        (count(|outcome| matches!(outcome, Outcome::NotStarted { .. })), "not started"),
        (count(|outcome| matches!(outcome, Outcome::Failed { .. })), "failed"),
    ];
    let counts: Vec<String> = counts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    counts.join(", ")
}
