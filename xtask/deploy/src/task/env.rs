//! `env`: the stack's ids as shell assignments, for scripts that read `aws-resources.env`.

use std::path::Path;
use std::process::ExitCode;

use serde_json::{Map, Value, json};
use stack::env::{self, Variable};

use crate::context::Context;
use crate::failure::Failure;
use crate::text::Text;
use crate::{confirm, report, view};

/// Writes the file, or prints it if it is called `-`; a file that somebody else has written is replaced only if told so.
pub async fn run(context: &Context, args: &xtask::Env) -> Result<ExitCode, Failure> {
    let file = args.file.as_path();
    let is_printed = file == Path::new("-");
    let is_foreign = !is_printed && is_foreign(file)?;
    let (cloud, inventory) = context.observe().await?;
    let account = Box::pin(cloud.identity()).await?.account;
    let variables = env::variables(&context.stack, &account, &inventory);
    let text = env::render(&variables);
    if !is_printed {
        if is_foreign {
            confirm::yes(
                context,
                &format!("`{}` was not written by this task; replace it?", file.display()),
            )?;
        }
        report::write(file, &text)?;
    }
    let document = json!({
        "stack": context.stack.name,
        "file": (!is_printed).then(|| file.display().to_string()),
        "variables": document(&variables),
    });
    if is_printed && !context.json {
        // As the file would be: its first line is known by, whatever this program is called.
        view::pass(text.trim_end())?;
    } else {
        let told = format_args!("{}: {} variables", file.display(), variables.len());
        view::result(context.json, &Text::of(told), &document)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Tells whether there is a file that `env` has not written.
///
/// # Errors
/// It cannot be read.
fn is_foreign(file: &Path) -> Result<bool, Failure> {
    match std::fs::read(file) {
        Ok(bytes) => Ok(!env::is_ours(&String::from_utf8_lossy(&bytes))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Failure::usage(format!("cannot read `{}`: {error}", file.display()))),
    }
}

fn document(variables: &[Variable]) -> Map<String, Value> {
    variables.iter().map(|variable| (variable.name.clone(), json!(variable.value))).collect()
}
