//! `migrate --baseline` and `migrate --repair`: what is written into a history without running anything.

use std::fmt::Write as _;

use db::migrate::{Difference, RunOptions};
use db::{Login, Migration, Server};
use serde_json::json;

use crate::context::Context;
use crate::failure::Failure;
use crate::task::tenant;
use crate::{confirm, table, view};

/// Records the files up to `version` in every tenant that has no history, once that is confirmed.
///
/// # Errors
/// Exit 6 or 7 if all or some tenants failed.
pub(super) async fn baseline(
    context: &Context,
    server: &Server,
    logins: &[Login],
    migrations: &[Migration],
    version: i32,
    options: &RunOptions,
) -> Result<(), Failure> {
    let count = migrations.iter().filter(|file| file.version() <= version).count();
    let question = format!(
        "record {count} migrations, up to V{version}, as applied in {} tenants without running them?",
        logins.len()
    );
    confirm::yes(context, &question)?;
    let mut rows = Vec::new();
    let mut documents = Vec::new();
    let mut failed = 0;
    for login in logins {
        context.check_interrupted()?;
        let done = db::migrate::baseline(server, login, migrations, version, options, &context.events).await;
        let name = login.database.clone();
        match done {
            Ok(recorded) => {
                rows.push(vec![name.clone(), format!("recorded {}", recorded.join(", "))]);
                documents.push(json!({ "tenant": name, "recorded": recorded }));
            }
            Err(error) => {
                failed += 1;
                rows.push(vec![name.clone(), format!("failed: {}", error.chain())]);
                documents.push(json!({ "tenant": name, "error": error }));
            }
        }
    }
    let text = table::render(&["tenant", "outcome"], &rows);
    view::result(context.json, &text, &json!({ "tenants": documents, "failed": failed }))?;
    tenant::verdict(failed, logins.len())
}

/// Shows where the histories differ from the files, and records the files' checksums once that is confirmed.
///
/// # Errors
/// Exit 6 or 7 if all or some tenants failed.
pub(super) async fn repair(
    context: &Context,
    server: &Server,
    logins: &[Login],
    migrations: &[Migration],
    options: &RunOptions,
) -> Result<(), Failure> {
    let mut found: Vec<(&Login, Vec<Difference>)> = Vec::new();
    let mut failed = 0;
    let mut text = String::new();
    let mut documents = Vec::new();
    for login in logins {
        context.check_interrupted()?;
        match db::migrate::differences(server, login, migrations, options).await {
            Ok(differences) if differences.is_empty() => {}
            Ok(differences) => found.push((login, differences)),
            Err(error) => {
                failed += 1;
                let _ = writeln!(text, "{}: failed: {}", login.database, error.chain());
                documents.push(json!({ "tenant": login.database, "error": error }));
            }
        }
    }
    for (login, differences) in &found {
        for one in differences {
            context.view.say(format!(
                "{}: `{}` with checksum {}, applied on {}, is now the file `{}` with checksum {}",
                login.database,
                one.applied,
                one.applied_checksum,
                one.applied_on,
                one.file,
                one.file_checksum
            ));
        }
    }
    if !found.is_empty() {
        let question =
            "record these files as what was applied? nothing is run, so their effect must be there";
        confirm::yes(context, question)?;
    }
    for (login, differences) in &found {
        context.check_interrupted()?;
        let name = &login.database;
        match db::migrate::repair(server, login, migrations, differences, options, &context.events).await {
            Ok(()) => {
                let _ = writeln!(text, "{name}: {} rows repaired", differences.len());
                documents.push(json!({ "tenant": name, "repaired": differences }));
            }
            Err(error) => {
                failed += 1;
                let _ = writeln!(text, "{name}: failed: {}", error.chain());
                documents.push(json!({ "tenant": name, "error": error }));
            }
        }
    }
    if text.is_empty() {
        text.push_str("every history fits the files");
    }
    view::result(context.json, &text, &json!({ "tenants": documents, "failed": failed }))?;
    tenant::verdict(failed, logins.len())
}
