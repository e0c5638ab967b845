//! `sweep --expired`: ends ephemeral bastions whose time is over.
//!
//! Each ends itself by a timer of its own. Behind that stands this task, for one whose timer was lost or never set.

use std::process::ExitCode;

use aws::bastion::{self, Ephemeral};
use jiff::Timestamp;
use serde_json::json;

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::text::{Text, put_line};
use crate::{confirm, view};

/// Shows what is over, asks, and ends it. What carries no date that can be read is left, and exit 9 says so.
pub async fn run(context: &Context, args: &xtask::Sweep) -> Result<ExitCode, Failure> {
    let cloud = Box::pin(context.access.connect(&context.stack)).await?;
    let identity = Box::pin(cloud.identity()).await?;
    context
        .view
        .say(format!("account {}, region {}, as {}", identity.account, context.stack.region, identity.arn));
    let of = (!args.all_stacks).then_some(context.stack.name.as_str());
    let found = Box::pin(bastion::ephemeral(&cloud, of)).await?;
    let (expired, unreadable, alive) = sort(&found, Timestamp::now());
    let mut text = list(&expired, &unreadable, &alive);
    let mut terminated = 0;
    if !args.dry_run && !expired.is_empty() {
        context.view.say_lines(&text);
        confirm::yes(context, "terminate those that are expired?")?;
        // Those that were shown, and are as they were then: somebody may have thought about the question for long.
        let now = if context.yes { found.clone() } else { Box::pin(bastion::ephemeral(&cloud, of)).await? };
        text = Text::new();
        for bastion in &expired {
            context.check_interrupted()?;
            let is_same = |other: &Ephemeral| {
                (&other.id, &other.stack, &other.expires_at)
                    == (&bastion.id, &bastion.stack, &bastion.expires_at)
            };
            if now.iter().any(is_same) {
                Box::pin(bastion::terminate(&cloud, &bastion.id)).await?;
                terminated += 1;
            } else {
                put_line!(text, "left: {} is not as it was shown any more", bastion.id);
            }
        }
        put_line!(text, "swept: {terminated} terminated");
    } else if found.is_empty() {
        text.line("nothing to sweep");
    }
    view::result(
        context.json,
        &text,
        &json!({
            "expired": expired, "unreadable": unreadable, "alive": alive,
            "terminated": terminated,
        }),
    )?;
    if unreadable.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let names: Vec<&str> = unreadable.iter().map(|bastion| bastion.id.as_str()).collect();
    Err(Failure::told(Exit::Leftovers).hint(format!(
        "look at the tag `{}` of {}: it is no date, so they were left",
        stack::spec::EXPIRY_TAG,
        names.join(", ")
    )))
}

/// Renders those whose time is over, those whose date cannot be read, and the others, a line each.
pub(crate) fn list(expired: &[&Ephemeral], unreadable: &[&Ephemeral], alive: &[&Ephemeral]) -> Text {
    let mut text = Text::new();
    for (label, list) in [("expired", expired), ("unreadable date", unreadable), ("still alive", alive)] {
        for Ephemeral { id, stack, state, expires_at } in list {
            put_line!(text, "{label}: {id} of stack `{stack}`, {state}, ends at `{expires_at}`");
        }
    }
    text
}

type Sorted<'a> = (Vec<&'a Ephemeral>, Vec<&'a Ephemeral>, Vec<&'a Ephemeral>);

/// Returns those whose time is over, those whose date cannot be read, and the others.
fn sort(found: &[Ephemeral], now: Timestamp) -> Sorted<'_> {
    let mut sorted: Sorted<'_> = Default::default();
    for bastion in found {
        match bastion.expires_at.parse::<Timestamp>() {
            Ok(end) if end <= now => sorted.0.push(bastion),
            Ok(_) => sorted.2.push(bastion),
            Err(_) => sorted.1.push(bastion),
        }
    }
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_surely_over_is_swept() {
        let bastion = |id: &str, end: &str| Ephemeral {
            id: id.to_owned(),
            stack: "shop-ci".to_owned(),
            state: "running".to_owned(),
            expires_at: end.to_owned(),
        };
        let found = [
            bastion("i-over", "2026-11-25T10:00:00Z"),
            bastion("i-alive", "2026-11-25T10:00:01Z"),
            bastion("i-odd", "yesterday"),
            bastion("i-none", ""),
        ];
        let (expired, unreadable, alive) = sort(&found, "2026-11-25T10:00:00Z".parse().unwrap());
        assert_eq!(expired, [&found[0]]);
        assert_eq!(alive, [&found[1]]);
        assert_eq!(unreadable, [&found[2], &found[3]]);
    }
}
