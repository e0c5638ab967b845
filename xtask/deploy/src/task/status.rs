//! `status`: what exists, in which state, what is to be done next, and what it costs.

use std::process::ExitCode;

use jiff::{Timestamp, Unit};

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::report;
use crate::report::status::Status;
use crate::task::plan;
use crate::text::{Text, put_line};
use crate::{cost, table, view};

/// Prints the state of every part, or writes the page; with `--check`, exit 8 unless all is well.
pub async fn run(context: &Context, args: &xtask::Status) -> Result<ExitCode, Failure> {
    args.html.as_deref().map_or(Ok(()), report::try_writing)?;
    let status = Box::pin(look(context)).await?;
    let page = args.html.as_deref().map(|file| (file, status.html()));
    let given = report::give(context, page, || render(&status), &status);
    let judged = if args.check && !status.healthy { Err(Failure::told(Exit::Drift)) } else { Ok(()) };
    report::after(context, judged, given).map(|()| ExitCode::SUCCESS)
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

pub(crate) fn render(status: &Status) -> Text {
    let rows: Vec<Vec<String>> = status
        .parts
        .iter()
        .map(|part| {
            let says = match part.says.is_empty() || part.detail.is_empty() {
                true => format!("{}{}", part.detail, part.says),
                false => format!("{}; AWS says: {}", part.detail, part.says),
            };
            [part.part.title(), part.state, &part.id, &says].map(str::to_owned).to_vec()
        })
        .collect();
    let mut text = table::render(&["part", "state", "id", ""], &rows);
    text.blank();
    text.line(status.verdict());
    for next in &status.next {
        put_line!(text, "next: {next}");
    }
    for note in &status.notes {
        put_line!(text, "note: {note}");
    }
    for finding in &status.findings {
        put_line!(text, "finding: {} ({}); {}", finding.sentence, finding.evidence, finding.command);
    }
    for unknown in &status.unknown {
        text.line(plan::stays(unknown));
    }
    if !status.unknown.is_empty() {
        text.line(plan::REMEDY);
    }
    for drift in &status.drift {
        put_line!(
            text,
            "drift: {}: {} is {}, the stack file says {}",
            drift.resource,
            drift.field,
            drift.have,
            drift.want
        );
    }
    text.blank();
    text.add(&cost::render(&status.cost));
    if let Some(connect) = &status.connect {
        text.blank();
        put_line!(text, "connect: `{}`, or `{}` for other programs", connect.psql, connect.tunnel);
    }
    text
}
