//! `tunnel`: a local port that leads to the database, until Ctrl-C.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::bridge::Bridge;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::listener::{self, Wrap};
use crate::{bridge, cost, view};

/// Opens the tunnel, proves that it reaches its target, prints a line, and carries connections.
pub async fn run(context: &Context, args: &xtask::Tunnel) -> Result<ExitCode, Failure> {
    let target = args.to.as_deref().map(parse_target).transpose()?;
    let listener = listener::bind(args.port).await?;
    let port = listener.local_addr()?.port();
    let (cloud, inventory) = context.observe().await?;
    let (host, target_port) = match target {
        Some(target) => target,
        None => bridge::endpoint(&inventory)?,
    };
    let sessions = args.sessions.unwrap_or(context.stack.bastion.sessions);
    let bridge = Bridge::open(context, &cloud, &inventory, host, target_port, sessions).await?;
    prove(&bridge, bridge::endpoint(&inventory).ok()).await?;
    let text = format!("ready: 127.0.0.1:{port} leads to {}:{}", bridge.host, bridge.port);
    view::result(
        context.json,
        &text,
        &json!({
            "ready": true, "address": "127.0.0.1", "port": port, "host": bridge.host, "target_port": bridge.port,
        }),
    )?;
    let bridge = Arc::new(bridge);
    let served = tokio::select! {
        error = listener::serve(&listener, &bridge, &Wrap::Nothing, &context.view) => Err(error),
        () = context.stop.raised() => Ok(()),
    };
    bridge.close().await?;
    context.view.say("tunnel closed");
    for line in cost::still_running(&inventory) {
        context.view.say(format!("still running: {line}"));
    }
    served?;
    Ok(ExitCode::SUCCESS)
}

/// How long a target that does not speak first is given to refuse.
const REFUSAL_LIMIT: Duration = Duration::from_secs(2);

/// Opens one connection to the target and closes it again.
///
/// PostgreSQL is asked whether it speaks TLS. Any other target is reached if it speaks, or closes, or does not refuse
/// within two seconds: the data channel tells of a refusal, but not of success.
async fn prove(bridge: &Bridge, database: Option<(String, u16)>) -> Result<(), Failure> {
    let unreached = |error: anyhow::Error| {
        Failure::new(
            Exit::Tunnel,
            error.context(format!("the tunnel does not reach {}:{}", bridge.host, bridge.port)),
        )
        .hint("run `cargo xtask status`; `cargo xtask up security-groups` mends the rules of the stack")
    };
    let mut stream = bridge.connect().await.map_err(|error| unreached(error.into()))?;
    let mut answer = [0; 1];
    if database == Some((bridge.host.clone(), bridge.port)) {
        let asked = async {
            stream.write_all(&listener::SSL_REQUEST).await?;
            stream.read_exact(&mut answer).await
        };
        asked.await.map_err(|error| unreached(error.into()))?;
    } else if let Ok(read) = timeout(REFUSAL_LIMIT, stream.read(&mut answer)).await {
        read.map_err(|error| unreached(error.into()))?;
    }
    Ok(())
}

fn parse_target(text: &str) -> Result<(String, u16), Failure> {
    let bad = || Failure::usage(format!("`--to {}` does not fit; write HOST:PORT", text.escape_debug()));
    let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if host.is_empty() || host.len() > 253 || !host.chars().all(fits) {
        return Err(bad());
    }
    match port.parse() {
        Ok(0) | Err(_) => Err(bad()),
        Ok(port) => Ok((host.to_owned(), port)),
    }
}
