//! `bastion start|stop|extend|keep`: when the bastion runs, which decides what it costs.

use std::process::ExitCode;

use aws::{ApplyOptions, Cloud};
use serde_json::json;
use stack::Inventory;
use stack::inventory::Instance;
use stack::spec::KEPT;

use crate::apply::apply;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::text::Text;
use crate::{connected, running, span, view};

/// Starts the bastion and waits until it takes sessions.
pub(super) async fn start(context: &Context) -> Result<ExitCode, Failure> {
    let (cloud, inventory) = context.observe().await?;
    let was = find(&inventory)?.state.clone();
    let plan = stack::plan::start(&context.stack, &inventory)
        .ok_or_else(|| Failure::new(Exit::Failure, anyhow::Error::msg("the bastion cannot be mended")))
        .map_err(|failure| failure.hint("run `cargo xtask up bastion` to replace it"))?;
    let options = ApplyOptions::default();
    let inventory = Box::pin(apply(context, &cloud, &plan, inventory, &options)).await?;
    let bastion = find(&inventory)?;
    let outcome = if plan.is_empty() { "unchanged" } else { "started" };
    let text = Text::of(format_args!("{outcome}: bastion {} takes sessions", bastion.id));
    view::result(
        context.json,
        &text,
        &json!({ "bastion": bastion.id, "outcome": outcome, "was": was, "state": bastion.state }),
    )?;
    context.shutdown.set_closing_note(running::look(&context.stack, &cloud, &inventory));
    Ok(ExitCode::SUCCESS)
}

/// Says who is connected, asks, and stops the bastion.
pub(super) async fn stop(context: &Context) -> Result<ExitCode, Failure> {
    let (cloud, inventory) = context.observe().await?;
    let bastion = find(&inventory)?;
    let told = |outcome: &str, connected: &[aws::bastion::Connected]| {
        let rest = stack::cost::of_inventory(&context.stack, &inventory).stopped();
        let text = format_args!("{outcome}: bastion {}; the stack now costs {rest} a month", bastion.id);
        view::result(
            context.json,
            &Text::of(text),
            &json!({ "bastion": bastion.id, "outcome": outcome, "connected": connected, "monthly": rest }),
        )
    };
    if bastion.state == "stopped" {
        told("unchanged", &[])?;
        return Ok(ExitCode::SUCCESS);
    }
    if bastion.expires_at.is_some() {
        // Its timer is in memory, and a stop would lose it.
        return Err(Failure::usage(format!("bastion {} is ephemeral, it is not stopped", bastion.id))
            .hint("run `cargo xtask down bastion` to remove it"));
    }
    let connected = connected::ask(context, "they lose their connections; stop it?", async || {
        connected::find(&cloud, std::iter::once(bastion)).await
    });
    let connected = Box::pin(connected).await?;
    Box::pin(aws::bastion::stop(&cloud, &bastion.id, &context.events, &context.stop)).await?;
    let unkept = match bastion.keep_until {
        Some(_) => aws::bastion::keep(&cloud, &bastion.id, None).await,
        None => Ok(()),
    };
    told("stopped", &connected)?;
    if let Err(error) = unkept {
        let why = Failure::from(error).chain();
        context
            .events
            .warn(format!("it is still tagged to be kept, and does not stop by itself once started: {why}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Keeps the bastion from stopping by itself for a while.
pub(super) async fn extend(context: &Context, args: &xtask::BastionExtend) -> Result<ExitCode, Failure> {
    let duration = span::parse("DURATION", &args.duration)?;
    let (cloud, inventory) = context.observe().await?;
    let until = span::from_now(duration).to_string();
    set_keep(context, &cloud, &inventory, &until).await?;
    context.view.say("without sessions it stops by itself at the next look after that, within a minute");
    Ok(ExitCode::SUCCESS)
}

/// Keeps the bastion from stopping by itself.
pub(super) async fn keep(context: &Context) -> Result<ExitCode, Failure> {
    let (cloud, inventory) = context.observe().await?;
    set_keep(context, &cloud, &inventory, KEPT).await?;
    Ok(ExitCode::SUCCESS)
}

async fn set_keep(
    context: &Context,
    cloud: &Cloud,
    inventory: &Inventory,
    until: &str,
) -> Result<(), Failure> {
    let bastion = find(inventory)?;
    if let Some(end) = &bastion.expires_at {
        let text = format!("bastion {} is ephemeral and ends at {end}, whatever is asked of it", bastion.id);
        return Err(Failure::usage(text));
    }
    if bastion.state != "running" && bastion.state != "pending" {
        let text = format!("bastion {} is {}", bastion.id, bastion.state);
        return Err(Failure::new(Exit::Failure, anyhow::Error::msg(text))
            .hint("run `cargo xtask bastion start` first"));
    }
    if !bastion.reads_tags {
        let text = format!(
            "bastion {} was launched without access to its own tags, so it would not know",
            bastion.id
        );
        return Err(Failure::usage(text)
            .hint("run `cargo xtask down bastion`, then `cargo xtask up bastion`, to replace it"));
    }
    Box::pin(aws::bastion::keep(cloud, &bastion.id, Some(until))).await?;
    let text = match until {
        KEPT => {
            format!("kept: bastion {} does not stop by itself until `cargo xtask bastion stop`", bastion.id)
        }
        _ => format!("extended: bastion {} does not stop by itself before {until}", bastion.id),
    };
    view::result(context.json, &Text::of(text), &json!({ "bastion": bastion.id, "keep_until": until }))?;
    context.shutdown.set_closing_note(running::look(&context.stack, cloud, inventory));
    Ok(())
}

fn find(inventory: &Inventory) -> Result<&Instance, Failure> {
    inventory.bastion().ok_or_else(|| {
        Failure::new(Exit::Failure, anyhow::Error::msg("the stack has no bastion"))
            .hint("run `cargo xtask up bastion`")
    })
}
