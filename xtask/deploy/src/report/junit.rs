//! JUnit's XML, which every CI shows: a test case for each tenant.

use std::fmt::Write as _;
use std::time::Duration;

use db::migrate::{Outcome, TenantReport};

use super::escape;

/// Returns the reports of a run as one test suite; `elapsed` is the run's own time, as tenants overlap.
pub fn junit(reports: &[TenantReport], elapsed: Duration) -> String {
    junit_joined(reports, &[], elapsed)
}

/// Returns the same for a run of many runners; `runners` are those who had the tenants, in their order.
pub fn junit_joined(reports: &[TenantReport], runners: &[Option<String>], elapsed: Duration) -> String {
    let count = |is: fn(&Outcome) -> bool| reports.iter().filter(|report| is(&report.outcome)).count();
    let failures = count(|outcome| matches!(outcome, Outcome::Failed { .. }));
    let errors = count(|outcome| matches!(outcome, Outcome::Interrupted { .. }));
    let skipped = count(|outcome| matches!(outcome, Outcome::NotStarted { .. }));
    let totals = format!(
        "name=\"migrate\" tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\" time=\"{:.3}\"",
        reports.len(),
        elapsed.as_secs_f64()
    );
    let mut xml =
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {totals}>\n<testsuite {totals}>\n");
    for (at, report) in reports.iter().enumerate() {
        let seconds = report.elapsed.as_secs_f64();
        let name = escape(&report.tenant);
        let _ = write!(xml, "<testcase classname=\"migrate\" name=\"{name}\" time=\"{seconds:.3}\">");
        if let Some(Some(runner)) = runners.get(at) {
            let runner = escape(runner);
            let _ = write!(xml, "<properties><property name=\"runner\" value=\"{runner}\"/></properties>");
        }
        xml.push_str(&body(&report.outcome));
        xml.push_str("</testcase>\n");
    }
    xml.push_str("</testsuite>\n</testsuites>\n");
    xml
}

fn body(outcome: &Outcome) -> String {
    let out = |applied: &[String]| match applied {
        [] => String::new(),
        applied => format!("<system-out>applied {}</system-out>", escape(&applied.join(", "))),
    };
    match outcome {
        Outcome::UpToDate => String::new(),
        Outcome::Applied { migrations } => out(migrations),
        Outcome::Failed { applied, migration, error } => {
            let at = migration.as_deref().unwrap_or("before the first migration");
            let (at, message, chain) = (escape(at), escape(&error.to_string()), escape(&error.chain()));
            format!("<failure type=\"{at}\" message=\"{message}\">{chain}</failure>{}", out(applied))
        }
        Outcome::Interrupted { applied, state } => {
            format!("<error type=\"interrupted\" message=\"{}\"/>{}", escape(state), out(applied))
        }
        Outcome::NotStarted { reason } => format!("<skipped message=\"{}\"/>", escape(&reason.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use db::Error;
    use db::migrate::SkipReason;

    use super::*;

    fn report(tenant: &str, outcome: Outcome) -> TenantReport {
        TenantReport { tenant: tenant.to_owned(), outcome, elapsed: Duration::from_millis(1500) }
    }

    #[test]
    fn each_tenant_is_a_test_case_with_its_own_end() {
        let error =
            Error::Diverged { tenant: "<shop>".to_owned(), problems: vec!["`V1__a` & more".to_owned()] };
        let reports = [
            report("fine", Outcome::UpToDate),
            report("done", Outcome::Applied { migrations: vec!["V1__a".to_owned(), "V2__b".to_owned()] }),
            report("<shop>", Outcome::Failed { applied: vec![], migration: Some("V1__a".to_owned()), error }),
            report("cut", Outcome::Interrupted { applied: vec![], state: "rolled back".to_owned() }),
            report("late", Outcome::NotStarted { reason: SkipReason::ErrorBudget }),
        ];
        assert_eq!(
            junit(&reports, Duration::from_secs(3)),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <testsuites name=\"migrate\" tests=\"5\" failures=\"1\" errors=\"1\" skipped=\"1\" time=\"3.000\">\n\
             <testsuite name=\"migrate\" tests=\"5\" failures=\"1\" errors=\"1\" skipped=\"1\" time=\"3.000\">\n\
             <testcase classname=\"migrate\" name=\"fine\" time=\"1.500\"></testcase>\n\
             <testcase classname=\"migrate\" name=\"done\" time=\"1.500\">\
             <system-out>applied V1__a, V2__b</system-out></testcase>\n\
             <testcase classname=\"migrate\" name=\"&lt;shop&gt;\" time=\"1.500\"><failure type=\"V1__a\" \
             message=\"the history of `&lt;shop&gt;` does not fit the files: `V1__a` &amp; more\">\
             the history of `&lt;shop&gt;` does not fit the files: `V1__a` &amp; more</failure></testcase>\n\
             <testcase classname=\"migrate\" name=\"cut\" time=\"1.500\">\
             <error type=\"interrupted\" message=\"rolled back\"/></testcase>\n\
             <testcase classname=\"migrate\" name=\"late\" time=\"1.500\">\
             <skipped message=\"too many tenants had failed\"/></testcase>\n\
             </testsuite>\n</testsuites>\n"
        );
    }

    #[test]
    fn a_run_of_many_runners_says_who_had_which_tenant() {
        let reports = [report("one", Outcome::UpToDate), report("two", Outcome::UpToDate)];
        let xml = junit_joined(&reports, &[Some("ci<1>".to_owned()), None], Duration::ZERO);
        assert!(xml.contains(
            "name=\"one\" time=\"1.500\"><properties><property name=\"runner\" value=\"ci&lt;1&gt;\"/></properties>"
        ));
        assert!(xml.contains("name=\"two\" time=\"1.500\"></testcase>"), "{xml}");
    }
}
