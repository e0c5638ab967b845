//! `migrate --baseline` and `migrate --repair`: what is written into a history without running anything.

use db::migrate::{Change, Difference, RunOptions, Survey, Target};
use serde_json::{Value, json};

use crate::context::Context;
use crate::db_task::DbTask;
use crate::failure::Failure;
use crate::text::{Text, put_line};
use crate::{confirm, sets, table, tenants, view};

/// Records the files up to `version` in every tenant that has no history, once that is confirmed.
///
/// # Errors
/// Exit 2 if they have several sets of migrations, 6 or 7 if all or some tenants failed.
pub(super) async fn baseline(
    task: DbTask<'_>,
    targets: &[Target],
    version: i32,
    options: &RunOptions,
) -> Result<(), Failure> {
    let DbTask { context, server, .. } = task;
    let set = sets::only(targets)?;
    let count = set.migrations.iter().filter(|file| file.version() <= version).count();
    let question = format!(
        "record {count} migrations, up to V{version}, as applied in {} tenants without running them?",
        targets.len()
    );
    confirm::yes(context, &question)?;
    let mut rows = Vec::new();
    let mut documents = Vec::new();
    let mut failed = 0;
    for target in targets {
        let Target { login, set, .. } = target;
        context.check_interrupted()?;
        let done = match target.check_login() {
            Ok(()) => db::migrate::baseline(server, login, set, version, options, &context.events).await,
            Err(error) => Err(error),
        };
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
    tenants::verdict(failed, targets.len())
}

/// What is known of a tenant, and what is to be done.
struct Found<'a> {
    target: &'a Target,
    /// What is put right once that is confirmed.
    repairs: Vec<Difference>,
    /// What no repair changes, each with what to do about it.
    beyond: Vec<String>,
}

impl<'a> Found<'a> {
    /// `replaced` are the versions whose files may be others altogether.
    fn new(target: &'a Target, survey: Survey, replaced: &[i32]) -> Found<'a> {
        let Survey { differences, mut beyond } = survey;
        let is_meant = |one: &Difference| one.change != Change::Replaced || replaced.contains(&one.version);
        let (repairs, others): (Vec<_>, Vec<_>) = differences.into_iter().partition(is_meant);
        beyond.extend(others.into_iter().map(|one| {
            format!(
                "{} was applied on {}, and the file {} has another name and another text: that is another migration \
                 under the same version, and gets a version of its own; if its effect is there all the same, add \
                 `--replaced {}`",
                one.applied, one.applied_on, one.file, one.version
            )
        }));
        Found { target, repairs, beyond }
    }

    fn say_repairs(&self, context: &Context) {
        for one in &self.repairs {
            let what = match one.change {
                Change::Edited => "with another text",
                Change::Renamed => "with another name",
                Change::Replaced => "with another name and another text",
            };
            context.view.say(format!(
                "{}: `{}` with checksum {}, applied on {}, is now the file `{}` {what}, checksum {}",
                self.target.login.database,
                one.applied,
                one.applied_checksum,
                one.applied_on,
                one.file,
                one.file_checksum
            ));
        }
    }

    /// Returns the lines of the result, and its part of the document; nothing if the history fits.
    fn told(&self, repaired: Result<(), db::Error>) -> Option<(Text, Value)> {
        let (name, mut text) = (&self.target.login.database, Text::new());
        let is_repaired = repaired.is_ok() && !self.repairs.is_empty();
        if is_repaired {
            put_line!(text, "{name}: {} rows repaired", self.repairs.len());
        }
        if let Err(error) = &repaired {
            put_line!(text, "{name}: failed: {}", error.chain());
        }
        for one in &self.beyond {
            put_line!(text, "{name}: not repaired: {one}");
        }
        let done: &[Difference] = if is_repaired { &self.repairs } else { &[] };
        let document = json!({
            "tenant": name,
            "repaired": done,
            "left": self.beyond,
            "error": repaired.err(),
        });
        (!text.is_empty()).then_some((text, document))
    }
}

/// Shows where the histories differ from the files, records the files' names and checksums once that is confirmed, and says
/// what no repair changes.
///
/// # Errors
/// Exit 6 or 7 if the histories of all or some tenants do not fit the files afterwards.
pub(super) async fn repair(
    task: DbTask<'_>,
    targets: &[Target],
    replaced: &[i32],
    options: &RunOptions,
) -> Result<(), Failure> {
    let DbTask { context, server, .. } = task;
    let mut found: Vec<Found<'_>> = Vec::new();
    let mut failed = 0;
    let mut text = Text::new();
    let mut documents = Vec::new();
    for target in targets {
        let Target { login, set, .. } = target;
        context.check_interrupted()?;
        let survey = match target.check_login() {
            Ok(()) => db::migrate::survey(server, login, set, options).await,
            Err(error) => Err(error),
        };
        match survey {
            Ok(survey) => found.push(Found::new(target, survey, replaced)),
            Err(error) => {
                failed += 1;
                put_line!(text, "{}: failed: {}", login.database, error.chain());
                documents.push(json!({ "tenant": login.database, "error": error }));
            }
        }
    }
    found.iter().for_each(|one| one.say_repairs(context));
    if found.iter().any(|one| !one.repairs.is_empty()) {
        let question =
            "record these files as what was applied? nothing is run, so their effect must be there";
        confirm::yes(context, question)?;
    }
    for one in &found {
        context.check_interrupted()?;
        let Target { login, set, .. } = one.target;
        let repaired = match one.repairs.as_slice() {
            [] => Ok(()),
            repairs => db::migrate::repair(server, login, set, repairs, options, &context.events).await,
        };
        failed += usize::from(repaired.is_err() || !one.beyond.is_empty());
        if let Some((lines, document)) = one.told(repaired) {
            text.add(&lines);
            documents.push(document);
        }
    }
    if text.is_empty() {
        text.line("every history fits the files");
    }
    view::result(context.json, &text, &json!({ "tenants": documents, "failed": failed }))?;
    tenants::verdict(failed, targets.len())
}
