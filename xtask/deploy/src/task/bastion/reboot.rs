//! `bastion reboot`: what makes an agent that sleeps after a refusal try again now.

use std::process::ExitCode;

use aws::session::{Active, Asleep, ReadyWait};
use serde_json::json;

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::text::{Text, put_line};
use crate::{confirm, view};

/// Reboots the bastion and waits until a session can be opened. Whoever is connected is named, and asked about.
///
/// # Errors
/// No bastion runs (exit 1), the question is not answered with yes (2, 130), or no session can be opened afterwards (4).
pub(super) async fn run(context: &Context) -> Result<ExitCode, Failure> {
    let (cloud, inventory) = context.observe().await?;
    let missing = |text: String| {
        Failure::new(Exit::Failure, anyhow::Error::msg(text)).hint("run `cargo xtask up bastion`")
    };
    let bastion = inventory.bastion().ok_or_else(|| missing("the stack has no bastion".to_owned()))?;
    let id = &bastion.id;
    if bastion.state != "running" {
        return Err(missing(format!("bastion `{id}` is {}", bastion.state)));
    }
    let sessions = Box::pin(aws::session::list_active(&cloud, id)).await?;
    if !sessions.is_empty() {
        let mut connected = Text::of(format_args!("connected to `{id}`:"));
        for Active { owner, started_at, id } in &sessions {
            let since = started_at.as_deref().map_or_else(String::new, |since| format!(" since {since}"));
            put_line!(connected, "  {owner}{since}, session {id}");
        }
        context.view.say_lines(&connected);
        confirm::yes(context, &format!("reboot `{id}`? They lose their sessions."))?;
    }
    Box::pin(aws::reboot(&cloud, id, &context.events, &context.stop)).await?;
    let wait = ReadyWait { limit: context.stack.bastion.ready_within, asleep: Asleep::IsLeft };
    let waited =
        aws::session::wait_until_openable(&cloud, &context.stack, id, wait, &context.events, &context.stop);
    let agent = Box::pin(waited).await.map_err(|error| {
        Failure::from(error).hint("run `cargo xtask doctor` to see what is in the agent's way")
    })?;
    let text = Text::of(format_args!("bastion `{id}` is rebooted; its agent is {}", agent.ping_status));
    let owners: Vec<&str> = sessions.iter().map(|session| session.owner.as_str()).collect();
    view::result(context.json, &text, &json!({ "bastion": id, "agent": agent, "disconnected": owners }))?;
    Ok(ExitCode::SUCCESS)
}
