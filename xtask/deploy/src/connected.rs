//! Who has a session with the bastion; the user is asked before they lose it.

use aws::Cloud;
use aws::bastion::Connected;
use stack::inventory::Instance;

use crate::confirm;
use crate::context::Context;
use crate::failure::Failure;
use crate::text::{Text, put_line};

/// Returns who has a session with any of these instances.
///
/// # Errors
/// AWS does not list the sessions.
pub async fn find<'a>(
    cloud: &Cloud,
    instances: impl Iterator<Item = &'a Instance>,
) -> Result<Vec<Connected>, Failure> {
    let mut found = Vec::new();
    for instance in instances.filter(|instance| matches!(instance.state.as_str(), "running" | "pending")) {
        found.extend(Box::pin(aws::bastion::connected(cloud, &instance.id)).await?);
    }
    Ok(found)
}

/// Shows who is connected and asks, again if others have connected meanwhile. Returns all of them.
///
/// # Errors
/// AWS does not list the sessions, there is nobody to ask, or the answer is no.
pub async fn ask(
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
        // Others may have connected while the question waited.
        named = found;
    }
}

/// Renders one line for each session.
pub fn render(connected: &[Connected]) -> Text {
    connected.iter().fold(Text::new(), |mut text, Connected { session_id, owner, since }| {
        let since = since.as_deref().map_or(String::new(), |since| format!(" since {since}"));
        put_line!(text, "connected: {owner}{since} (session {session_id})");
        text
    })
}
