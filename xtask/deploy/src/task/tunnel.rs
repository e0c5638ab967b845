//! `tunnel`: local ports that lead to the database or to other targets, until Ctrl-C.

use std::io;
use std::net::Ipv6Addr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join_all, select_all, try_join_all};
use serde_json::{Value, json};
use stack::Event;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{interval, timeout};
use tunnel::Phase;

use crate::bridge::{Bridge, Route, Silence};
use crate::context::Context;
use crate::failure::Failure;
use crate::listener::{self, Admits, Local, Want, Wrap};
use crate::reach::reach;
use crate::text::Text;
use crate::{bridge, cause, program, view};

/// A local end, and where it is to lead.
struct Way {
    local: Local,
    /// `None` for the database.
    target: Option<(String, u16)>,
}

/// Opens the tunnels, proves that they reach their targets, prints a line for each, and carries connections.
pub async fn run(context: &Context, args: &xtask::Tunnel) -> Result<ExitCode, Failure> {
    // Before any session is started: a port that is taken ends everything here.
    let ways = ways(args).await?;
    let (cloud, inventory) = reach(context).await?;
    let sessions = args.sessions.unwrap_or(context.stack.bastion.sessions);
    let silence = if args.keep_alive { Silence::KeptAlive } else { Silence::TimesOut };
    let (mut ends, mut routes) = (Vec::new(), Vec::new());
    for Way { local, target } in ways {
        let wrap = match target {
            None => Wrap::PostgreSql(listener::tls(context.access.roots()?)?),
            Some(_) => Wrap::Nothing,
        };
        let (host, port) = target.map_or_else(|| bridge::endpoint(&inventory), Ok)?;
        ends.push((local, wrap));
        routes.push(Route { host, port, sessions, silence });
    }
    let opening = routes.into_iter().map(|route| Bridge::open(context, &cloud, &inventory, route));
    let opened = join_all(opening).await;
    let work = async |bridges: &[Arc<Bridge>]| {
        let database = bridge::endpoint(&inventory).ok();
        let proofs = join_all(bridges.iter().map(|bridge| prove(bridge, database.clone()))).await;
        proofs.into_iter().collect::<Result<(), Failure>>()?;
        let open: Vec<_> = ends.into_iter().zip(bridges.iter().cloned()).collect();
        serve(context, &open).await
    };
    Box::pin(Bridge::during_all(opened, work)).await?;
    context.view.say("tunnel closed");
    Ok(ExitCode::SUCCESS)
}

/// Takes the local ends.
async fn ways(args: &xtask::Tunnel) -> Result<Vec<Way>, Failure> {
    if let Some(dir) = &args.socket {
        let local = Local::open(&Want::Socket(dir.clone())).await?;
        return Ok(vec![Way { local, target: None }]);
    }
    let admits = if args.any_user { Admits::Anybody } else { Admits::Owner };
    let mut wanted = Vec::new();
    for (index, text) in args.to.iter().enumerate() {
        let (local, target) = parse_target(text)?;
        wanted.push((local.unwrap_or(if index == 0 { args.port } else { 0 }), Some(target)));
    }
    if wanted.is_empty() {
        wanted.push((args.port, None));
    }
    let mut ways = Vec::new();
    for (port, target) in wanted {
        ways.push(Way { local: Local::open(&Want::Port(port, admits)).await?, target });
    }
    Ok(ways)
}

/// Says that the tunnels are ready and carries connections until Ctrl-C.
async fn serve(context: &Context, open: &[((Local, Wrap), Arc<Bridge>)]) -> Result<(), Failure> {
    for ((local, _), bridge) in open {
        let (text, document) = ready(local, bridge)?;
        view::result(context.json, &Text::of(text), &document)?;
    }
    let watching = try_join_all(open.iter().map(|((local, _), bridge)| watch(context, local, bridge)));
    let serving =
        open.iter().map(|((local, wrap), bridge)| listener::serve(local, bridge, wrap, &context.view));
    tokio::select! {
        (never, _, _) = select_all(serving.map(Box::pin)) => match never {},
        () = context.stop.raised() => Ok(()),
        watched = watching => Ok(watched.map(drop)?),
    }
}

/// Returns what is said of an open end, as text and as a document.
fn ready(local: &Local, bridge: &Bridge) -> io::Result<(String, Value)> {
    let mut text = format!("ready: {} leads to {}:{}", local.address()?, bridge.host, bridge.port);
    let mut document = json!({ "ready": true, "host": bridge.host, "target_port": bridge.port });
    match local {
        Local::Port(listener, _) => {
            document["address"] = json!("127.0.0.1");
            document["port"] = json!(listener.local_addr()?.port());
        }
        Local::Socket(socket) => {
            let dir = socket.dir().display().to_string();
            text.push_str(&format!("; for libpq: PGHOST={}", program::quote(&dir)));
            document["socket"] = json!(socket.path().display().to_string());
            document["directory"] = json!(dir);
            document["port"] = json!(listener::SOCKET_PORT);
        }
    }
    Ok((text, document))
}

/// How often it is told what a tunnel carries.
const LOOK: Duration = Duration::from_secs(1);

/// Tells what the tunnel carries, whenever that has changed.
async fn watch(context: &Context, local: &Local, bridge: &Bridge) -> io::Result<()> {
    let subject = format!("{} -> {}:{}", local.address()?, bridge.host, bridge.port);
    context.events.emit(Event::StepStarted { subject: subject.clone(), verb: "ready".to_owned() });
    let mut last = None;
    let mut look = interval(LOOK);
    loop {
        look.tick().await;
        let state = bridge.state();
        let count = |phase| state.sessions.iter().filter(|session| session.phase == phase).count();
        let traffic = Event::Traffic {
            subject: subject.clone(),
            sessions: count(Phase::Live) + count(Phase::Stuck),
            resuming: count(Phase::Resuming),
            streams: state.streams,
            bytes_sent: state.bytes_sent,
            bytes_received: state.bytes_received,
            unread_bytes: (state.unread_bytes + state.spilled_bytes) as u64,
            round_trip: state.sessions.iter().map(|session| session.round_trip).max().unwrap_or_default(),
        };
        if last.as_ref() != Some(&traffic) {
            context.events.emit(traffic.clone());
            last = Some(traffic);
        }
    }
}

/// How long a target that does not speak first is given to refuse.
const REFUSAL_LIMIT: Duration = Duration::from_secs(2);

/// Opens one connection to the target and closes it again.
///
/// PostgreSQL is asked whether it speaks TLS. Any other target is reached if it speaks, or closes, or does not refuse
/// within two seconds: the data channel tells of a refusal, but not of success.
async fn prove(bridge: &Bridge, database: Option<(String, u16)>) -> Result<(), Failure> {
    let unreached = |error: anyhow::Error| {
        cause::of_stream(error, format!("the tunnel does not reach {}:{}", bridge.host, bridge.port))
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

/// Returns the local port, if one is named, and the target.
fn parse_target(text: &str) -> Result<(Option<u16>, (String, u16)), Failure> {
    let bad = || {
        Failure::usage(format!(
            "`--to {}` does not fit; write HOST:PORT or LOCAL_PORT:HOST:PORT",
            text.escape_debug()
        ))
    };
    let (rest, port) = text.rsplit_once(':').ok_or_else(bad)?;
    // An IPv6 address is written in brackets, as in URLs.
    let (before, address) = match rest.strip_suffix(']').and_then(|rest| rest.rsplit_once('[')) {
        Some((before, address)) => (before, Some(address)),
        None => (rest, None),
    };
    let (local, host) = match (before.split_once(':'), address) {
        (Some((local, "")), Some(address)) => (Some(local), address),
        (Some((local, host)), None) => (Some(local), host),
        (None, None) => (None, before),
        (None, Some(address)) if before.is_empty() => (None, address),
        (_, Some(_)) => return Err(bad()),
    };
    let local = local.map(str::parse).transpose().map_err(|_| bad())?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let is_host = match address {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.len() <= 253 && host.chars().all(fits),
    };
    if !is_host {
        return Err(bad());
    }
    match port.parse() {
        Ok(0) | Err(_) => Err(bad()),
        Ok(port) => Ok((local, (host.to_owned(), port))),
    }
}
