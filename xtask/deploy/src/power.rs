//! The bastion as something that is switched on and off: whoever needs it starts it, and says what it costs then.

use aws::bastion::Connected;
use aws::{ApplyOptions, Cloud};
use stack::Inventory;
use stack::inventory::Instance;

use crate::apply::apply;
use crate::confirm;
use crate::context::Context;
use crate::failure::Failure;
use crate::text::{Text, put_line};

/// Starts the bastion if it is stopped, waits until it takes sessions, and returns what exists then.
///
/// One that runs is not asked, and none at all is not this function's business: whoever opens a session says so.
///
/// # Errors
/// It does not start, or takes no session: exit 4 with the cause, where one is found.
pub async fn wake(context: &Context, cloud: &Cloud, inventory: Inventory) -> Result<Inventory, Failure> {
    if inventory.bastion().is_none_or(|bastion| bastion.state == "running") {
        return Ok(inventory);
    }
    let Some(plan) = stack::plan::start(&context.stack, &inventory) else { return Ok(inventory) };
    if let Some(bastion) = inventory.bastion() {
        context.view.say(format!("bastion {} is {}; it is started", bastion.id, bastion.state));
    }
    Box::pin(apply(context, cloud, &plan, inventory, &ApplyOptions::default())).await
}

/// Returns who has a session with any of these instances.
///
/// # Errors
/// AWS does not say.
pub async fn connected<'a>(
    cloud: &Cloud,
    instances: impl Iterator<Item = &'a Instance>,
) -> Result<Vec<Connected>, Failure> {
    let mut found = Vec::new();
    for instance in instances.filter(|instance| matches!(instance.state.as_str(), "running" | "pending")) {
        found.extend(Box::pin(aws::bastion::connected(cloud, &instance.id)).await?);
    }
    Ok(found)
}

/// Shows who is connected and asks, until nobody is whom the question has not named; returns them.
///
/// # Errors
/// AWS does not say who is connected, there is nobody to ask, or the answer is no.
pub async fn ask_the_connected(
    context: &Context,
    question: &str,
    look: impl AsyncFn() -> Result<Vec<Connected>, Failure>,
) -> Result<Vec<Connected>, Failure> {
    let mut named: Vec<Connected> = Vec::new();
    loop {
        let found = look().await?;
        let is_named = |one: &Connected| named.iter().any(|other| other.session_id == one.session_id);
        if found.iter().all(is_named) {
            return Ok(found);
        }
        context.view.say_lines(&render(&found));
        confirm::yes(context, question)?;
        if context.yes {
            return Ok(found);
        }
        // Somebody may have connected while the question stood there.
        named = found;
    }
}

/// Renders them, a line each; empty if there is nobody.
pub fn render(connected: &[Connected]) -> Text {
    connected.iter().fold(Text::new(), |mut text, Connected { session_id, owner, since }| {
        let since = since.as_deref().map_or(String::new(), |since| format!(" since {since}"));
        put_line!(text, "connected: {owner}{since} (session {session_id})");
        text
    })
}
