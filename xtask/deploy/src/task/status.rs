//! `status`: what exists, in which state, what is to be done next, and what it costs.

use std::fmt::Write as _;
use std::process::ExitCode;

use jiff::{Timestamp, Unit};

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::report::status::Status;
use crate::report::{self, plain};
use crate::task::plan;
use crate::{cost, program, table, view};

/// Prints the state of every part, or writes the page; with `--check`, exit 8 unless all is well.
pub async fn run(context: &Context, args: &xtask::Status) -> Result<ExitCode, Failure> {
    args.html.as_deref().map_or(Ok(()), report::try_writing)?;
    let status = Box::pin(look(context)).await?;
    match &args.html {
        Some(file) => {
            report::write(file, &program::called_in_markup(&status.html()))?;
            context.view.say(format!("wrote `{}`", file.display()));
            view::result(context.json, "", &status)?;
        }
        None => show(context, &status)?,
    }
    if args.check && !status.healthy { Err(Failure::told(Exit::Drift)) } else { Ok(ExitCode::SUCCESS) }
}

/// Asks AWS how the stack is.
///
/// # Errors
/// Those of [`Context::observe`].
pub async fn look(context: &Context) -> Result<Status, Failure> {
    let (_, identity, inventory) = context.look().await?;
    let now = Timestamp::now().round(Unit::Second).map_err(anyhow::Error::from)?;
    Ok(Status::new(&context.stack, &identity.account, inventory?, now))
}

/// Prints the state of every part.
///
/// # Errors
/// Standard output cannot be written to.
pub fn show(context: &Context, status: &Status) -> std::io::Result<()> {
    view::result(context.json, &render(status), status)
}

fn render(status: &Status) -> String {
    let rows: Vec<Vec<String>> = status
        .parts
        .iter()
        .map(|part| {
            let says = match part.says.is_empty() || part.detail.is_empty() {
                true => format!("{}{}", part.detail, part.says),
                false => format!("{}; AWS says: {}", part.detail, part.says),
            };
            [part.part.title(), part.state, &part.id, &says].map(plain).to_vec()
        })
        .collect();
    let mut text = table::render(&["part", "state", "id", ""], &rows);
    let _ = writeln!(text, "\n{}", status.verdict());
    for next in &status.next {
        let _ = writeln!(text, "next: {next}");
    }
    for note in &status.notes {
        let _ = writeln!(text, "note: {note}");
    }
    for finding in &status.findings {
        let _ = writeln!(text, "finding: {} ({}); {}", finding.sentence, finding.evidence, finding.command);
    }
    for unknown in &status.unknown {
        let _ = writeln!(text, "{}", plan::stays(unknown));
    }
    if !status.unknown.is_empty() {
        let _ = writeln!(text, "{}", plan::REMEDY);
    }
    for drift in &status.drift {
        let _ = writeln!(
            text,
            "drift: {}: {} is {}, the stack file says {}",
            drift.resource, drift.field, drift.have, drift.want
        );
    }
    let _ = write!(text, "\n{}", cost::render(&status.cost));
    if let Some(connect) = &status.connect {
        let _ = writeln!(text, "\nconnect: `{}`, or `{}` for other programs", connect.psql, connect.tunnel);
    }
    text
}
