//! `migrate --lint`: what the files would do to a live table. Contacts nothing and reads no stack file.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

use db::Migration;
use db::migration::MigrationSet;
use db::migration::lint::{self, Finding, Severity};
use serde_json::json;
use stack::Event;

use crate::failure::{Exit, Failure};
use crate::text::Text;
use crate::view::{self, View};
use crate::{paths, squawk, table};

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
    let dir = args.dir.clone().unwrap_or_else(|| paths::workspace().join("db/migrations"));
    let mut sets = vec![db::migration::load_set(&dir, None)?];
    let names = db::migration::sets(&dir)?;
    match from {
        None => {
            for name in &names {
                sets.push(db::migration::load_set(&dir, Some(name))?);
            }
        }
        Some(_) if names.is_empty() => {}
        // A version is another file in each set.
        Some(_) => view.show(&Event::Warning {
            text: format!("sets are left out: {}; `--dir` names a set's folder", names.join(", ")),
        }),
    }
    let mut findings = Vec::new();
    let mut files = 0;
    for mut set in sets {
        findings.extend(judge(&dir, &mut set, from, view).await);
        files += set.migrations.len();
    }
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    let document = json!({ "files": files, "errors": errors, "findings": findings });
    view::result(json, &render(&findings, files), &document)?;
    if errors > 0 { Err(Failure::told(Exit::Failure)) } else { Ok(ExitCode::SUCCESS) }
}

/// Returns what is found in a set, in the order of its files and their lines; files before version `from` are left out.
async fn judge(dir: &Path, set: &mut MigrationSet, from: Option<i32>, view: &View) -> Vec<Finding> {
    let of = set.name.as_ref().map(|name| format!(" in the set `{name}`")).unwrap_or_default();
    for gap in db::migration::gaps(&set.migrations) {
        view.show(&Event::Warning { text: format!("there is no migration V{gap}{of}") });
    }
    let mut findings: Vec<Finding> = match from {
        Some(from) => {
            set.migrations.retain(|migration| migration.version() >= from);
            lint::check(&set.migrations)
        }
        None => set.migrations.chunks(1).flat_map(lint::check).collect(),
    };
    let folder = set.name.as_ref().map_or(dir.to_owned(), |name| dir.join(name));
    findings.extend(others(&folder, &set.migrations, view).await);
    let place = |finding: &Finding| {
        let file = set.migrations.iter().position(|migration| migration.file_name() == finding.file);
        (file, finding.line)
    };
    findings.sort_by_key(place);
    if let Some(name) = &set.name {
        findings.iter_mut().for_each(|finding| finding.file = format!("{name}/{}", finding.file));
    }
    findings
}

/// Returns the findings of squawk, if it is installed. If squawk fails, that is a warning and no finding.
async fn others(dir: &Path, migrations: &[Migration], view: &View) -> Vec<Finding> {
    let Some(program) = squawk::find() else { return Vec::new() };
    squawk::check(&program, dir, migrations).await.unwrap_or_else(|reason| {
        view.show(&Event::Warning { text: format!("`{}` was not heard: {reason}", program.display()) });
        Vec::new()
    })
}

pub(crate) fn render(findings: &[Finding], files: usize) -> Text {
    let of = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let total = Text::of(format_args!(
        "files: {files}, errors: {}, warnings: {}",
        of(Severity::Error),
        of(Severity::Warning)
    ));
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
    text.blank();
    text.add(&table::render(&["rule", "instead"], &rows));
    text.blank();
    text.add(&total);
    text
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
