//! squawk, a linter for PostgreSQL with far more rules than ours: asked if it is on PATH.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use db::Migration;
use db::migration::Mode;
use db::migration::lint::{Finding, Severity};
use serde::Deserialize;
use tokio::process::Command;

/// What Drawbridge sees to itself: limits come with the connection, and a file is whole or rolled back.
const NOT_NEEDED: [&str; 4] =
    ["prefer-robust-stmts", "require-lock-timeout", "require-statement-timeout", "require-timeout-settings"];

/// Returns the program, if there is one on PATH.
pub fn find() -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join("squawk")).find(|path| path.is_file())
}

/// Returns what squawk finds in these files of `dir`, each rule named `squawk/..`.
///
/// It is given the files' names and PATH, nothing else of the environment.
///
/// # Errors
/// It cannot be run, or its report cannot be read; in words.
pub async fn check(program: &Path, dir: &Path, migrations: &[Migration]) -> Result<Vec<Finding>, String> {
    let mut findings = Vec::new();
    for in_transaction in [true, false] {
        let files: Vec<&str> = migrations
            .iter()
            .filter(|migration| (migration.mode() != Mode::NoTransaction) == in_transaction)
            .map(Migration::file_name)
            .collect();
        if files.is_empty() {
            continue;
        }
        let mut command = Command::new(program);
        command.args(["--reporter", "json"]).args(in_transaction.then_some("--assume-in-transaction"));
        command.args(files).current_dir(dir).env_clear().stdin(Stdio::null()).kill_on_drop(true);
        command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        let output = command.output().await.map_err(|error| error.to_string())?;
        // It exits with 1 for findings and for whatever else went wrong.
        let found = parse(&output.stdout).map_err(|error| {
            let said = String::from_utf8_lossy(&output.stderr);
            let said: String = said.trim().chars().take(200).flat_map(char::escape_debug).collect();
            format!("{error} {said}").trim().to_owned()
        })?;
        findings.extend(found);
    }
    Ok(findings)
}

#[derive(Deserialize)]
struct Violation {
    file: String,
    /// Counted from 0.
    line: usize,
    level: String,
    message: String,
    help: Option<String>,
    rule_name: String,
}

fn parse(report: &[u8]) -> serde_json::Result<Vec<Finding>> {
    let violations: Vec<Violation> = serde_json::from_slice(report)?;
    let violations = violations.into_iter().filter(|one| !NOT_NEEDED.contains(&one.rule_name.as_str()));
    Ok(violations
        .map(|one| Finding {
            rule: format!("squawk/{}", one.rule_name),
            severity: if one.level == "Error" { Severity::Error } else { Severity::Warning },
            file: one.file.rsplit('/').next().unwrap_or_default().to_owned(),
            line: one.line + 1,
            effect: one.message,
            instead: one.help.unwrap_or_default(),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_squawk_2_becomes_findings_with_lines_counted_from_1() {
        let report = br#"[
            {"file":"V1__a.sql","line":0,"column":0,"level":"Warning","message":"Dropping","help":null,
             "rule_name":"ban-drop-column","column_end":27,"line_end":0},
            {"file":"./V1__a.sql","line":4,"column":8,"level":"Error","message":"expected","help":"Add",
             "rule_name":"syntax-error","column_end":8,"line_end":4},
            {"file":"V1__a.sql","line":0,"column":0,"level":"Warning","message":"Missing","help":null,
             "rule_name":"require-lock-timeout","column_end":27,"line_end":0}]"#;
        let findings = parse(report).unwrap();
        let shown: Vec<_> = findings.iter().map(|one| (one.rule.as_str(), one.severity, one.line)).collect();
        assert_eq!(
            shown,
            [("squawk/ban-drop-column", Severity::Warning, 1), ("squawk/syntax-error", Severity::Error, 5)]
        );
        assert_eq!((findings[1].file.as_str(), findings[1].instead.as_str()), ("V1__a.sql", "Add"));
    }

    #[test]
    fn a_report_of_another_shape_is_refused() {
        for report in ["", "no files", "{}", "[{\"file\":\"a\"}]"] {
            assert!(parse(report.as_bytes()).is_err(), "{report}");
        }
    }
}
