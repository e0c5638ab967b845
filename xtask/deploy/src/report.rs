//! What a run or a look leaves behind for others: JUnit for CI, a page for people.

pub mod extension;
pub mod html;
pub mod junit;
pub mod migration_status;
pub mod page;
pub mod release;
pub mod resources;
pub mod status;

use std::path::Path;

use db::migrate;

use crate::context::Context;
pub(crate) use crate::escape::markup as escape;
use crate::failure::Failure;
pub use crate::file::{try_writing, write};
use crate::text::Text;
use crate::{escape, program, view};

/// Returns what the task comes to once its report is written or not: a report that cannot be written fails what else went
/// well, and is a warning beside another failure, which says more.
///
/// # Errors
/// The task's own, or else the report's.
pub fn after(
    context: &Context,
    outcome: Result<(), Failure>,
    written: Result<(), Failure>,
) -> Result<(), Failure> {
    match (outcome, written) {
        (Err(failure), Err(unwritten)) => {
            context.events.warn(unwritten.chain());
            Err(failure)
        }
        (outcome, written) => outcome.and(written),
    }
}

/// Gives a result: as a page in a file, if one is asked for, else as text; with `--json` as the document in any case. Where the
/// page cannot be written the text is shown.
///
/// # Errors
/// Neither could be given as it was asked for.
pub(crate) fn give(
    context: &Context,
    page: Option<(&Path, String)>,
    text: impl FnOnce() -> Text,
    document: &impl serde::Serialize,
) -> Result<(), Failure> {
    let Some((file, page)) = page else { return Ok(view::result(context.json, &text(), document)?) };
    let written = write(file, &program::called_in_markup(&page));
    let text = match &written {
        Ok(()) => {
            context.view.say(format!("wrote `{}`", file.display()));
            Text::new()
        }
        Err(_) => text(),
    };
    let shown = view::result(context.json, &text, document).map_err(Failure::from);
    after(context, shown, written)
}

/// Returns what became of a tenant, for people.
pub fn outcome(outcome: &migrate::Outcome) -> String {
    match outcome {
        migrate::Outcome::UpToDate => "up to date".to_owned(),
        migrate::Outcome::Applied { migrations } => format!("applied {}", migrations.join(", ")),
        migrate::Outcome::Failed { applied, migration, error } => {
            let at = migration.as_ref().map(|at| format!(" at {at}")).unwrap_or_default();
            format!("failed{at} after {} applied: {}", applied.len(), error.chain())
        }
        migrate::Outcome::Interrupted { applied, state } => {
            format!("interrupted after {} applied: {state}", applied.len())
        }
        migrate::Outcome::NotStarted { reason } => format!("not started: {reason}"),
    }
}

/// Returns a document as the JSON of a file, with the commands in it as they are typed here.
pub(crate) fn json(document: &impl serde::Serialize) -> String {
    let text = serde_json::to_string_pretty(&program::called_value(document));
    escape::json(&text.expect("invariant: strings and numbers are JSON")) + "\n"
}
