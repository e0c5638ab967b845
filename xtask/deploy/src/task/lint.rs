//! `migrate --lint`: what the files would do to a live table. Contacts nothing and reads no stack file.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

use db::Migration;
use db::migration::lint::{self, Finding, Severity};
use serde_json::json;
use stack::Event;

use crate::failure::{Exit, Failure};
use crate::view::{self, View};
use crate::{place, squawk, table};

/// Prints every finding: of each file alone, or of those from version `from` on as one set.
///
/// # Errors
/// Exit 1 if a finding is an error, 2 if the files cannot be used.
pub async fn run(
    args: &xtask::Migrate,
    from: Option<i32>,
    view: &View,
    json: bool,
) -> Result<ExitCode, Failure> {
    let dir = args.dir.clone().unwrap_or_else(|| place::workspace().join("db/migrations"));
    let mut migrations = db::migration::load(&dir)?;
    for gap in db::migration::gaps(&migrations) {
        view.show(&Event::Warning { text: format!("there is no migration V{gap}") });
    }
    let mut findings: Vec<Finding> = match from {
        Some(from) => {
            migrations.retain(|migration| migration.version() >= from);
            lint::check(&migrations)
        }
        None => migrations.chunks(1).flat_map(lint::check).collect(),
    };
    findings.extend(others(&dir, &migrations, view).await);
    let place = |finding: &Finding| {
        let file = migrations.iter().position(|migration| migration.file_name() == finding.file);
        (file, finding.line)
    };
    findings.sort_by_key(place);
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    let document = json!({ "files": migrations.len(), "errors": errors, "findings": findings });
    view::result(json, &render(&findings, migrations.len()), &document)?;
    if errors > 0 { Err(Failure::told(Exit::Failure)) } else { Ok(ExitCode::SUCCESS) }
}

/// Returns what squawk finds, if it is there; that it could not be asked is no verdict on the files.
async fn others(dir: &Path, migrations: &[Migration], view: &View) -> Vec<Finding> {
    let Some(program) = squawk::find() else { return Vec::new() };
    squawk::check(&program, dir, migrations).await.unwrap_or_else(|reason| {
        view.show(&Event::Warning { text: format!("`{}` was not heard: {reason}", program.display()) });
        Vec::new()
    })
}

fn render(findings: &[Finding], files: usize) -> String {
    let of = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let total =
        format!("files: {files}, errors: {}, warnings: {}", of(Severity::Error), of(Severity::Warning));
    if findings.is_empty() {
        return total;
    }
    let rows: Vec<Vec<String>> = findings
        .iter()
        .map(|finding| {
            vec![
                format!("{}:{}", finding.file, finding.line),
                finding.severity.to_string(),
                finding.rule.clone(),
                finding.effect.clone(),
            ]
        })
        .collect();
    let mut text = table::render(&["place", "severity", "rule", "on a live table"], &rows);
    let remedies: BTreeSet<(&str, &str)> = findings
        .iter()
        .filter(|finding| !finding.instead.is_empty())
        .map(|finding| (finding.rule.as_str(), finding.instead.as_str()))
        .collect();
    let rows: Vec<Vec<String>> =
        remedies.iter().map(|(rule, instead)| vec![(*rule).to_owned(), (*instead).to_owned()]).collect();
    text.push('\n');
    text.push_str(&table::render(&["rule", "instead"], &rows));
    format!("{text}\n{total}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_says_once_what_to_write_instead() {
        let one = |line| Finding {
            rule: "create-index".to_owned(),
            severity: Severity::Error,
            file: "V1__a.sql".to_owned(),
            line,
            effect: "keeps writers out".to_owned(),
            instead: "CONCURRENTLY".to_owned(),
        };
        assert_eq!(
            render(&[one(1), one(20)], 3),
            "place         severity  rule          on a live table\n\
             V1__a.sql:1   error     create-index  keeps writers out\n\
             V1__a.sql:20  error     create-index  keeps writers out\n\n\
             rule          instead\n\
             create-index  CONCURRENTLY\n\n\
             files: 3, errors: 2, warnings: 0"
        );
        assert_eq!(render(&[], 3), "files: 3, errors: 0, warnings: 0");
    }
}
