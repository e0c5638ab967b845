//! `audit`: lists whatever is left of the stack.

use std::process::ExitCode;

use serde_json::json;
use stack::receipt::{Audit, Left, Unseen};

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::text::Text;
use crate::{table, view};

/// Asks each service; exit 9 if anything is left, or a list failed so that nobody knows.
pub async fn run(context: &Context) -> Result<ExitCode, Failure> {
    let found = of(context).await?;
    let text = if found.is_clean() { Text::of("nothing left") } else { render(&found) };
    let document = json!({ "stack": context.stack.name, "left": found.left, "unseen": found.unseen });
    view::result(context.json, &text, &document)?;
    match (found.left.is_empty(), found.unseen.is_empty()) {
        (true, true) => Ok(ExitCode::SUCCESS),
        (_, true) => Err(Failure::told(Exit::Leftovers)),
        (_, false) => {
            Err(Failure::told(Exit::Leftovers)
                .hint("allow what was refused, then run `cargo xtask audit` again"))
        }
    }
}

/// Returns what is left.
///
/// # Errors
/// We are not let in at all.
pub async fn of(context: &Context) -> Result<Audit, Failure> {
    let cloud = Box::pin(context.access.connect(&context.stack)).await?;
    let (identity, found) =
        tokio::join!(Box::pin(cloud.identity()), Box::pin(aws::audit(&cloud, &context.stack)));
    identity?;
    Ok(found)
}

/// Renders what is left, and what could not be seen, as tables.
pub fn render(found: &Audit) -> Text {
    tables(&found.left, &found.unseen)
}

/// As [`render`], of a receipt's parts.
pub fn tables(left: &[Left], unseen: &[Unseen]) -> Text {
    let mut text = Text::new();
    if !left.is_empty() {
        let command = |one: &Left| one.command.as_ref().map(|command| format!("; `{command}`"));
        let row = |one: &Left| {
            let why = format!("{}{}", one.why, command(one).unwrap_or_default());
            vec![one.kind.clone(), one.id.clone(), why]
        };
        text.add(&table::render(&["left", "id", ""], &left.iter().map(row).collect::<Vec<_>>()));
    }
    if !unseen.is_empty() {
        let row = |one: &Unseen| vec![one.what.clone(), one.call.clone(), one.why.clone()];
        text.add(&table::render(&["not seen", "call", ""], &unseen.iter().map(row).collect::<Vec<_>>()));
    }
    text
}
