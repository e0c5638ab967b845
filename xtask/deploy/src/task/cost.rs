//! `cost`: what the stack costs now, with the bastion stopped, a month, and since the bastion's start.

use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use stack::cost::Amount;
use stack::inventory::Instance;

use crate::context::Context;
use crate::failure::Failure;
use crate::text::put_line;
use crate::{cost, running, view};

/// Prints the bill of what exists.
pub async fn run(context: &Context) -> Result<ExitCode, Failure> {
    let (cloud, inventory) = context.observe().await?;
    let bill = stack::cost::of_inventory(&context.stack, &inventory);
    let mut text = cost::render(&bill);
    let (now, hourly) = (bill.now(), bill.now().known.an_hour());
    put_line!(text, "now: {now} a month, which is {hourly} an hour");
    let since = inventory.bastion().filter(|bastion| bastion.state == "running").and_then(since_start);
    if let Some((time, amount)) = &since {
        put_line!(text, "the bastion since its start: {amount}, in {}", view::seconds(*time));
    }
    view::result(
        context.json,
        &text,
        &json!({
            "stack": context.stack.name,
            "cost": bill,
            "monthly_now": now,
            "monthly_running": bill.running(),
            "monthly_stopped": bill.stopped(),
            "hourly_now": hourly,
            "bastion_since_start": since.map(|(time, amount)| json!({ "seconds": time.as_secs(), "cost": amount })),
        }),
    )?;
    context.shutdown.set_closing_note(running::look(&context.stack, &cloud, &inventory));
    Ok(ExitCode::SUCCESS)
}

/// Returns for how long the bastion has run, and what that cost. EC2 dates a launch anew at every start.
fn since_start(bastion: &Instance) -> Option<(Duration, Amount)> {
    let began: Timestamp = bastion.launched_at.as_deref()?.parse().ok()?;
    let time = Duration::try_from(Timestamp::now().duration_since(began)).ok()?;
    let hourly = stack::cost::bastion_hourly(&bastion.instance_type, bastion.volume_gib.unwrap_or_default())?;
    Some((time, hourly.over(time)))
}
