//! The gateway's own API for other processes, under a path that AWS does not use.
//!
//! A request is signed with the gateway's key for the service `drawbridge`, with the header `x-drawbridge-control: 1`, which is
//! signed too. Its answer has `x-drawbridge-proof`, which only a holder of the key can make for that signature.
//!
//! | | |
//! |---|---|
//! | `GET health` | agents that were refused and databases that did not start, with the reasons |
//! | `GET journal` | the calls |
//! | `GET`, `POST`, `DELETE faults` | what is still to go wrong, one more, none |
//! | `GET`, `POST`, `DELETE denials` | what nobody may do, one more (`{"service":"ssm","operation":"StartSession"}`), none |
//! | `POST disconnect` | closes every data channel |
//! | `POST reset` | empties everything |

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::gateway::chain;
use crate::gateway::memory::denials::Action;
use crate::gateway::memory::faults::Fault;
use crate::gateway::memory::sessions::Disconnect;
use crate::gateway::state::State;
use crate::gateway::wire::reply::Reply;
use crate::gateway::wire::request::Request;
use crate::gateway::wire::signature::Claim;

/// The path of everything that is the gateway's own.
pub(crate) const PATH: &str = "/_drawbridge/";
/// The service that its requests are signed for.
pub(crate) const SERVICE: &str = "drawbridge";
/// The header that its requests must have: no page of a browser can send it unasked.
pub(crate) const HEADER: (&str, &str) = ("x-drawbridge-control", "1");
/// The header of its answers by which they prove themselves.
pub(crate) const PROOF: &str = "x-drawbridge-proof";

/// Answers a request whose signature holds.
pub(crate) async fn answer(state: &State, claim: &Claim, request: &Request) -> Reply {
    let is_meant = request.headers.get(HEADER.0).is_some_and(|value| value == HEADER.1);
    if claim.scope.service != SERVICE || !is_meant || !claim.covers(HEADER.0) {
        let text = format!("sign for the service `{SERVICE}`, with `{}: {}`", HEADER.0, HEADER.1);
        return Reply::plain(StatusCode::FORBIDDEN, text);
    }
    let mut reply = attempt(state, request).await;
    if let Ok(proof) = state.signers.own().prove(&claim.signature).parse() {
        reply.headers.insert(PROOF, proof);
    }
    reply
}

async fn attempt(state: &State, request: &Request) -> Reply {
    let name = request.uri.path().trim_start_matches(PATH);
    match (&request.method, name) {
        (&Method::GET, "health") => {
            let agents: serde_json::Map<String, Value> =
                state.agents.obstacles().into_iter().map(|(id, why)| (id, why.into())).collect();
            let databases: serde_json::Map<String, Value> =
                state.phases.failures().into_iter().map(|(id, why)| (id, why.into())).collect();
            Reply::json(&json!({ "status": "ok", "agents": agents, "databases": databases }))
        }
        (&Method::GET, "journal") => Reply::json(&json!(state.journal.calls())),
        (&Method::GET, "faults") => Reply::json(&json!(state.faults.waiting())),
        (&Method::POST, "faults") => match serde_json::from_slice::<Fault>(&request.body) {
            Ok(fault) => {
                state.faults.inject(fault);
                Reply::json(&json!(state.faults.waiting()))
            }
            Err(error) => Reply::plain(StatusCode::BAD_REQUEST, error.to_string()),
        },
        (&Method::DELETE, "faults") => {
            state.faults.clear();
            Reply::json(&json!([]))
        }
        (&Method::GET, "denials") => Reply::json(&json!(state.denials.all())),
        (&Method::POST, "denials") => match serde_json::from_slice::<Action>(&request.body) {
            Ok(action) => {
                state.denials.deny(action);
                Reply::json(&json!(state.denials.all()))
            }
            Err(error) => Reply::plain(StatusCode::BAD_REQUEST, error.to_string()),
        },
        (&Method::DELETE, "denials") => {
            state.denials.clear();
            Reply::json(&json!([]))
        }
        (&Method::POST, "disconnect") => {
            state.sessions.disconnect(Disconnect::Closed);
            Reply::json(&json!({}))
        }
        (&Method::POST, "reset") => match state.reset().await {
            Ok(()) => Reply::json(&json!({})),
            Err(error) => Reply::plain(StatusCode::BAD_GATEWAY, chain(&error)),
        },
        _ => Reply::plain(StatusCode::NOT_FOUND, format!("no `{name}` here")),
    }
}
