//! `doctor`: what is broken between here and the database, the root cause first.

mod connection;

use std::process::ExitCode;

use aws::Depth;
use serde_json::json;
use stack::Diagnosis;
use stack::diagnosis::{self, Judgement, Link, Verdict};

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::text::{Text, put_line};
use crate::view;

/// Looks at every link and prints what is so; exit 8 unless all are in order.
pub async fn run(context: &Context) -> Result<ExitCode, Failure> {
    let cloud = Box::pin(context.access.connect(&context.stack)).await?;
    let facts = Box::pin(aws::examine(&cloud, &context.stack, Depth::Session)).await?;
    let mut diagnosis = diagnosis::diagnose(&context.stack, &facts);
    let links = if can_connect(&diagnosis) {
        Box::pin(connection::links(context, &cloud, &facts.inventory)).await
    } else {
        let why = || Judgement::Skipped("an earlier link does not hold".to_owned());
        connection::NAMES.map(|name| Link::new(name, why())).to_vec()
    };
    diagnosis.links.extend(links);
    // Last: it is in nobody's way.
    diagnosis.links.push(diagnosis::exposure(&context.stack, &facts));
    context.check_interrupted()?;
    let stack = &context.stack;
    let document = json!({
        "stack": stack.name,
        "region": stack.region,
        "healthy": diagnosis.is_healthy(),
        "root": diagnosis.root(),
        "links": diagnosis.links,
    });
    view::result(context.json, &render(&diagnosis), &document)?;
    if diagnosis.is_healthy() { Ok(ExitCode::SUCCESS) } else { Err(Failure::told(Exit::Drift)) }
}

/// Tells whether a connection is worth a try: what could not be seen may be in order, and the connection shows it.
fn can_connect(diagnosis: &Diagnosis) -> bool {
    let holds = |name| diagnosis.links.iter().any(|link| link.name == name && link.verdict == Verdict::Pass);
    let is_broken = diagnosis.links.iter().any(|link| link.verdict == Verdict::Fail);
    !is_broken && holds("session") && holds("database")
}

/// Renders the root cause, what mends it, and every link.
pub(crate) fn render(diagnosis: &Diagnosis) -> Text {
    let mut text = match diagnosis.root() {
        None => Text::of(format_args!(
            "all {} links from here to the database are in order",
            diagnosis.links.len()
        )),
        Some(link) => {
            let mut text = Text::of(&link.sentence);
            put_line!(text, "because: {}", link.evidence);
            if let Some(command) = &link.command {
                put_line!(text, "mend it: {command}");
            }
            text
        }
    };
    text.blank();
    let width = diagnosis.links.iter().map(|link| link.name.len()).max().unwrap_or_default();
    for link in &diagnosis.links {
        let Link { name, verdict, sentence, evidence, command, .. } = link;
        let word = match verdict {
            Verdict::Pass => "pass",
            Verdict::Fail => "FAIL",
            Verdict::Unknown => "unknown",
            Verdict::Skipped => "skipped",
        };
        let row = format!("{name:<width$}  {word:<7}  ");
        match verdict {
            Verdict::Fail => {
                put_line!(text, "{row}{sentence} ({evidence})");
                if let Some(command) = command {
                    put_line!(text, "{:>1$}{command}", "", row.len());
                }
            }
            Verdict::Pass | Verdict::Unknown | Verdict::Skipped => {
                put_line!(text, "{row}{evidence}");
            }
        }
    }
    text
}
