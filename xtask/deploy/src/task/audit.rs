//! `audit`: lists whatever is left of the stack.

use std::process::ExitCode;

use aws::Leftover;
use serde_json::json;

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::{table, view};

/// Asks each service; exit 9 if anything is left.
pub async fn run(context: &Context) -> Result<ExitCode, Failure> {
    let left = of(context).await?;
    let text = if left.is_empty() { "nothing left\n".to_owned() } else { render(&left) };
    view::result(context.json, &text, &json!({ "stack": context.stack.name, "left": left }))?;
    if left.is_empty() { Ok(ExitCode::SUCCESS) } else { Err(Failure::told(Exit::Leftovers)) }
}

/// Returns what is left.
pub async fn of(context: &Context) -> Result<Vec<Leftover>, Failure> {
    let cloud = Box::pin(context.access.connect(&context.stack)).await?;
    Ok(Box::pin(aws::audit(&cloud, &context.stack)).await?)
}

/// Renders what is left as a table.
pub fn render(left: &[Leftover]) -> String {
    let rows: Vec<Vec<String>> =
        left.iter().map(|one| vec![one.kind.to_string(), one.id.clone(), one.why.clone()]).collect();
    table::render(&["left", "id", ""], &rows)
}
