//! `adopt`: tags what the predecessor's scripts made, so that it is the stack's.

use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};
use stack::adopt::{self, Candidate, Found, Given, Listing};
use stack::plan::Drift;
use stack::{Inventory, Plan, Stack};

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::stack_lock::{self, Freshness};
use crate::task::plan;
use crate::text::{Text, put_line};
use crate::{confirm, table, tenant_source, view};

/// Shows what the file names, what differs from the stack file and what `up` would do after; asks; tags it.
pub async fn run(context: &Context, args: &xtask::Adopt) -> Result<ExitCode, Failure> {
    let listing = read(&args.from)?;
    let stack = &*context.stack;
    agree(&listing.stack, "STACK_NAME", &stack.name, &args.from)?;
    agree(&listing.region, "AWS_REGION", &stack.region, &args.from)?;
    let (cloud, identity, inventory) = context.look().await?;
    agree(&listing.account, "AWS_ACCOUNT_ID", &identity.account, &args.from)?;
    let inventory = inventory?;
    for (name, line) in &listing.unknown {
        let place = args.from.display();
        context.events.warn(format!("{place}:{line}: `{name}` means nothing here and is not looked at"));
    }
    let found = Box::pin(aws::adopt::look(&cloud, stack, &listing, &inventory)).await?;
    check(stack, &inventory, &found, &args.from)?;
    let (taken, open): (Vec<Candidate>, Vec<Candidate>) =
        found.candidates.iter().cloned().partition(|candidate| candidate.is_taken(stack));
    let after = After::new(stack, &adopt::hypothetical(&inventory, &found.candidates));
    let shown = after.render(stack, &found, &taken);
    let document = |adopted: bool| after.document(stack, &found, &open, adopted);
    if open.is_empty() || args.dry_run {
        let mut text = shown;
        if open.is_empty() {
            text.blank();
            text.line("nothing to adopt");
        }
        view::result(context.json, &text, &document(false))?;
        return Ok(ExitCode::SUCCESS);
    }
    context.view.say_lines(&shown);
    confirm::yes(context, &format!("tag these {} as parts of stack `{}`?", open.len(), stack.name))?;
    let again = |error: aws::Error| {
        Failure::from(error)
            .hint("run the same again: it goes on from here; do not run `cargo xtask up` before")
    };
    let work = async |inventory: Inventory| {
        // Another run may have made what is to be taken over, or have taken it.
        let now = Box::pin(aws::adopt::look(&cloud, stack, &listing, &inventory)).await?;
        check(stack, &inventory, &now, &args.from)?;
        let is_same = |(a, b): (&Candidate, &Candidate)| a.part == b.part && a.id == b.id && a.tags == b.tags;
        let (shown, there) = (&found.candidates, &now.candidates);
        if shown.len() != there.len() || !shown.iter().zip(there).all(is_same) {
            let text = "what the file names has changed since it was shown; nothing was tagged";
            return Err(Failure::new(Exit::Drift, anyhow::Error::msg(text))
                .hint("run the same again: it shows what is there now"));
        }
        aws::adopt::take(&cloud, stack, &open, &context.events, &context.stop).await.map_err(again)?;
        Box::pin(aws::adopt::settle(&cloud, stack, &open, &context.stop)).await.map_err(again)?;
        Ok(())
    };
    let changing = stack_lock::change(
        context,
        &cloud,
        ("adopt", Freshness::UnlessLocked.unless_asked(context)),
        inventory,
        work,
    );
    Box::pin(changing).await?;
    let mut text = Text::of(format_args!("adopted: {} parts", open.len()));
    put_line!(text, "next: {}", after.next());
    view::result(context.json, &text, &document(true))?;
    Ok(ExitCode::SUCCESS)
}

fn read(file: &Path) -> Result<Listing, Failure> {
    let shown = file.display().to_string();
    db::link::check(file)?;
    let bytes = std::fs::read(file).map_err(|error| {
        Failure::usage(format!("cannot read `{shown}`: {error}"))
            .hint("name the file that the scripts kept: `cargo xtask adopt --from aws-resources.env`")
    })?;
    adopt::parse(&bytes, &shown).map_err(tenant_source::refuse)
}

/// Refuses a file that speaks of another stack, region or account.
fn agree(given: &Option<Given>, name: &str, want: &str, file: &Path) -> Result<(), Failure> {
    match given {
        Some(Given { value, line }) if value != want => {
            let message = format!("{}:{line}: `{name}` is not `{want}`; nothing was changed", file.display());
            Err(Failure::usage(message).hint("pick the stack file with `--stack FILE`, or correct the line"))
        }
        Some(_) | None => Ok(()),
    }
}

/// Refuses what belongs to somebody else or cannot be one stack, and what later tasks would not find.
fn check(stack: &Stack, inventory: &Inventory, found: &Found, file: &Path) -> Result<(), Failure> {
    let objections = adopt::objections(stack, inventory, &found.candidates);
    if !objections.is_empty() {
        let message = format!("`{}` cannot be adopted: {}", file.display(), objections.join("; "));
        return Err(Failure::usage(message).hint("nothing was changed; correct the file and run it again"));
    }
    let lines = adopt::unnamed(stack, &found.candidates);
    if lines.is_empty() {
        return Ok(());
    }
    let message = format!(
        "the stack file does not name what `{}` does, and AWS renames none of it; nothing was changed",
        file.display()
    );
    let lines = adopt::render_lines(&lines);
    Err(Failure::usage(message)
        .hint(format!("write this into the stack file and run it again:\n{}", lines.trim_end())))
}

/// The stack as it is once all is taken over.
struct After {
    inventory: Inventory,
    drift: Vec<Drift>,
    plan: Plan,
}

impl After {
    fn new(stack: &Stack, inventory: &Inventory) -> After {
        After {
            inventory: inventory.clone(),
            drift: stack::plan::drift(stack, inventory),
            plan: stack::plan::up(stack, inventory, &[]),
        }
    }

    fn next(&self) -> &'static str {
        if self.plan.is_empty() {
            "nothing, all parts are as they should be; `cargo xtask status` shows them"
        } else {
            "`cargo xtask plan` shows what `cargo xtask up` mends"
        }
    }

    fn render(&self, stack: &Stack, found: &Found, taken: &[Candidate]) -> Text {
        let row = |candidate: &Candidate| {
            let what = match (taken.contains(candidate), &candidate.variable) {
                (true, _) => "is the stack's already",
                (false, Some(_)) => "will be tagged",
                (false, None) => "will be tagged; not in the file, found by what it is attached to",
            };
            vec![candidate.part.to_string(), candidate.id.clone(), what.to_owned()]
        };
        let rows: Vec<Vec<String>> = found.candidates.iter().map(row).collect();
        let mut text = table::render(&["part", "id", ""], &rows);
        for skipped in &found.skipped {
            put_line!(text, "left alone: {} `{}` {}", skipped.variable, skipped.id, skipped.why);
        }
        for drift in &self.drift {
            put_line!(
                text,
                "differs: {}: {} is {}, the stack file says {}; `up` leaves it so",
                drift.resource,
                drift.field,
                drift.have,
                drift.want
            );
        }
        text.blank();
        text.line("what `up` does after that:");
        text.add(&plan::render(stack, &self.inventory, &self.plan));
        text
    }

    fn document(&self, stack: &Stack, found: &Found, open: &[Candidate], adopted: bool) -> Value {
        let row = |candidate: &Candidate| {
            json!({
                "part": candidate.part.to_string(),
                "id": candidate.id,
                "variable": candidate.variable,
                "new": open.contains(candidate),
            })
        };
        json!({
            "stack": stack.name,
            "adopted": adopted,
            "parts": found.candidates.iter().map(row).collect::<Vec<_>>(),
            "left_alone": found.skipped,
            "drift": self.drift,
            "plan": self.plan,
        })
    }
}
