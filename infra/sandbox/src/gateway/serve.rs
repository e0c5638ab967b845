//! Connections, and what happens around every call: the journal, the latency, the faults.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, HeaderMap};
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::{channel, clock, control, guard, route};
use crate::agent_protocol;
use crate::gateway::memory::faults::FaultKind;
use crate::gateway::memory::journal::{Arrival, Ending};
use crate::gateway::state::State;
use crate::gateway::wire::reply::{Reply, ServedBy};
use crate::gateway::wire::request::{Protocol, Request};
use crate::gateway::wire::signature::{self, Canonical};
use crate::gateway::wire::websocket;

/// The longest body that is read; no call of AWS's APIs is near it.
const MOST_BYTES: usize = 64 << 20;

/// The answer is lost on purpose: the connection closes instead.
#[derive(Debug, thiserror::Error)]
#[error("the answer is lost on purpose")]
struct Lost;

/// Accepts connections until the gateway ends.
pub(crate) async fn accept(state: Arc<State>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Small frames go both ways: Nagle would add 40 ms to each round trip.
                drop(stream.set_nodelay(true));
                state.tasks.spawn(connection(Arc::clone(&state), stream));
            }
            // Out of descriptors; connections that end give some back.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    }
}

async fn connection(state: Arc<State>, stream: TcpStream) {
    let service = service_fn(move |request| {
        let state = Arc::clone(&state);
        async move {
            let mut reply = answer(&state, request).await?;
            clock::stamp(&state, &mut reply);
            Ok::<_, Lost>(into_response(reply))
        }
    });
    let http = hyper::server::conn::http1::Builder::new();
    // A client that goes away, or an answer lost on purpose: nobody is left to be told.
    drop(http.serve_connection(TokioIo::new(stream), service).with_upgrades().await);
}

async fn answer(state: &Arc<State>, mut incoming: hyper::Request<Incoming>) -> Result<Reply, Lost> {
    if let Some(refused) = guard::refusal(state, incoming.uri(), incoming.headers()) {
        return Ok(refused);
    }
    if incoming.uri().path().starts_with(websocket::DATA_CHANNEL) {
        if let Some(refused) = channel::refusal(state, &incoming) {
            return Ok(refused);
        }
        let upgrade = hyper::upgrade::on(&mut incoming);
        let shared = Arc::clone(state);
        let work = async move { channel::open(&shared, incoming.uri(), incoming.headers(), upgrade) };
        let arrival = Arrival {
            service: "ssmmessages".to_owned(),
            operation: "OpenDataChannel".to_owned(),
            ..Arrival::default()
        };
        return call(state, arrival, Protocol::Json, Box::pin(work)).await;
    }
    if let Some(place) = incoming.uri().path().strip_prefix(agent_protocol::PATH) {
        let place = place.to_owned();
        let upgrade = hyper::upgrade::on(&mut incoming);
        return Ok(admit(state, &place, incoming.headers(), upgrade));
    }
    let (parts, body) = incoming.into_parts();
    // The body is read only for a known key.
    let claim = match guard::claim(state, &parts.headers) {
        Ok(claim) => claim,
        Err(refused) => return Ok(*refused),
    };
    let Ok(body) = Limited::new(body, MOST_BYTES).collect().await else { return Err(Lost) };
    let request = Request::parse(parts.method, parts.uri, parts.headers, body.to_bytes());
    let signed = Canonical {
        method: &request.method,
        uri: &request.uri,
        headers: &request.headers,
        body: &request.body,
    };
    let refused = guard::unproven(state, &claim, &signed, request.protocol());
    if let Some(refused) = refused.or_else(|| clock::refusal(state, &request.headers, request.protocol())) {
        return Ok(refused);
    }
    if request.uri.path().starts_with(control::PATH) {
        return Ok(control::answer(state, &claim, &request).await);
    }
    let arrival = Arrival {
        service: request.service().to_owned(),
        operation: request.name(),
        region: request.region().to_owned(),
        mentions: state.journal.mentioned(|| request.text()),
    };
    let protocol = request.protocol();
    let shared = Arc::clone(state);
    let work = async move { route::answer(&shared, &request).await };
    call(state, arrival, protocol, Box::pin(work)).await
}

/// Admits an agent, at `INSTANCE` to register and at `INSTANCE/sessions/SESSION` for a session. The journal does not note it,
/// as it is no call of AWS.
fn admit(state: &Arc<State>, place: &str, headers: &HeaderMap, upgrade: hyper::upgrade::OnUpgrade) -> Reply {
    let Some(agents) = state.options.agent.remote().cloned() else {
        return Reply::plain(StatusCode::NOT_FOUND, "no agent is awaited here");
    };
    let shown = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    if !shown.is_some_and(|shown| signature::is_same(agents.secret().expose(), shown)) {
        return Reply::plain(StatusCode::FORBIDDEN, "the agent's secret is not valid");
    }
    let (instance, session) = match place.split_once(agent_protocol::SESSIONS) {
        Some((instance, session)) => (instance.to_owned(), Some(session.to_owned())),
        None => (place.to_owned(), None),
    };
    let carry = async move {
        let Some(socket) = websocket::open(upgrade).await else { return };
        match session {
            Some(session) => agents.take_up(&session, socket),
            None => agents.register(&instance, socket).await,
        }
    };
    websocket::agree(headers, || state.tasks.spawn(carry))
}

/// Makes one call: notes it, delays it, and lets a fault happen to it.
async fn call(
    state: &Arc<State>,
    arrival: Arrival,
    protocol: Protocol,
    work: BoxFuture<'static, Reply>,
) -> Result<Reply, Lost> {
    let number = state.journal.begin(&arrival);
    let (service, operation) = (arrival.service.as_str(), arrival.operation.as_str());
    if let Some((status, code, message)) = state.denials.refusal(service, operation, protocol) {
        let served_by = Some(ServedBy::Gateway);
        state.journal.end(number, Ending { status: Some(status), fault: None, served_by });
        return Ok(Reply::refuse(protocol, status, code, &message));
    }
    // Counted at the arrival: the order of calls is then the order of the journal.
    let fault = state.faults.meet(service, operation);
    if !state.options.latency.is_zero() {
        tokio::time::sleep(state.options.latency).await;
    }
    let name = fault.as_ref().map(FaultKind::name);
    let refuse = |status, code: &str, message: &str| {
        let reply = Reply::refuse(protocol, status, code, message);
        let served_by = Some(ServedBy::Gateway);
        state.journal.end(number, Ending { status: Some(status), fault: name, served_by });
        state.faults.fired();
        Ok(reply)
    };
    match fault {
        None => work_on(state, number, None, work).await,
        Some(FaultKind::Error { status, code }) => {
            refuse(status, &code, "the sandbox was told to refuse this call")
        }
        Some(FaultKind::ServerError) => {
            refuse(500, "InternalFailure", "the sandbox was told to fail this call")
        }
        Some(FaultKind::Throttle) => match protocol {
            Protocol::Ec2 => refuse(503, "RequestLimitExceeded", "Request limit exceeded."),
            Protocol::Query => refuse(400, "Throttling", "Rate exceeded"),
            Protocol::Json | Protocol::Cbor => refuse(400, "ThrottlingException", "Rate exceeded"),
        },
        Some(FaultKind::Timeout) => {
            state.journal.end(number, Ending { fault: name, ..Ending::default() });
            state.faults.fired();
            std::future::pending().await
        }
        Some(FaultKind::LostReply) => {
            work_on(state, number, name, work).await?;
            state.faults.fired();
            Err(Lost)
        }
        Some(FaultKind::Hold) => {
            work_on(state, number, name, work).await?;
            state.faults.fired();
            std::future::pending().await
        }
    }
}

/// Does the work in a task of its own: it goes on when the client disconnects.
async fn work_on(
    state: &Arc<State>,
    number: u64,
    fault: Option<&'static str>,
    work: BoxFuture<'static, Reply>,
) -> Result<Reply, Lost> {
    let (done, reply) = oneshot::channel();
    let shared = Arc::clone(state);
    state.tasks.spawn(async move {
        let reply = work.await;
        // A fault that follows the work leaves the client without the answer.
        let status = fault.is_none().then(|| reply.status.as_u16());
        shared.journal.end(number, Ending { status, fault, served_by: Some(reply.served_by) });
        drop(done.send(reply));
    });
    reply.await.map_err(|_| Lost)
}

fn into_response(reply: Reply) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(reply.body));
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    response
}
