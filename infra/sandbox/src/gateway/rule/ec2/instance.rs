//! The life of instances: slow to end, and each boot starts the agent's clock.

use std::sync::Arc;

use hyper::StatusCode;
use roxmltree::Document;

use super::launch;
use super::status::overlay_status;
use crate::gateway::Error;
use crate::gateway::rule::registration;
use crate::gateway::state::State;
use crate::gateway::upstream::api::EC2;
use crate::gateway::upstream::inventory::Inventory;
use crate::gateway::wire::reply::Reply;
use crate::gateway::wire::request::Request;
use crate::gateway::wire::xml::text;

/// Answers the operations that are ours.
pub(crate) async fn answer(state: &Arc<State>, request: &Request) -> Result<Option<Reply>, Error> {
    let reply = match request.operation.as_deref() {
        Some("RunInstances") => launch::run(state, request).await?,
        Some("TerminateInstances") => return terminate(state, request).await,
        Some("DescribeInstances") => {
            let (were_ending, _) = state.launches.overlay();
            let reply = state.upstream.forward(request).await?;
            overlay_status(&state.launches, were_ending, request, reply)
        }
        Some("StartInstances") => {
            let start = |id: &str| {
                state.launches.note_start(id);
                registration::boot(state, request.region(), id);
            };
            after(state, request, start).await?
        }
        Some("StopInstances") => after(state, request, |id| leave(state, id)).await?,
        Some("RebootInstances") => {
            let reboot = |id: &str| {
                leave(state, id);
                registration::boot(state, request.region(), id);
            };
            after(state, request, reboot).await?
        }
        _ => return Ok(None),
    };
    Ok(Some(reply))
}

async fn after(state: &State, request: &Request, then: impl Fn(&str)) -> Result<Reply, Error> {
    let reply = state.upstream.forward(request).await?;
    if reply.status == StatusCode::OK {
        request.list("InstanceId").iter().for_each(|id| then(id));
    }
    Ok(reply)
}

/// Stops a machine's agent and ends its sessions.
fn leave(state: &State, id: &str) {
    registration::halt(state, id);
    state.sessions.terminate_to(id, "");
}

/// Ends instances: callers see it at once, moto ends them a moment later, so that what they use stays in use.
async fn terminate(state: &Arc<State>, request: &Request) -> Result<Option<Reply>, Error> {
    let ids = request.list("InstanceId");
    let region = request.region();
    let mut items = String::new();
    for id in &ids {
        let found = Inventory::new(&state.upstream, region).find_instance(id).await?;
        let Some(instance) = found.filter(|instance| !instance.is_terminated()) else { return Ok(None) };
        if is_protected(state, region, id).await? {
            return Ok(None);
        }
        items.push_str(&format!(
            "<item><instanceId>{id}</instanceId><currentState><code>32</code><name>shutting-down</name></currentState>\
             <previousState><code>16</code><name>{}</name></previousState></item>",
            instance.state
        ));
    }
    state.launches.begin_end(&ids);
    ids.iter().for_each(|id| leave(state, id));
    let (shared, order, generation) = (Arc::clone(state), request.clone(), state.generation());
    state.tasks.spawn(async move {
        tokio::time::sleep(shared.options.termination_delay).await;
        if shared.generation() != generation {
            return;
        }
        // The instance exists and is not protected, so moto refuses only if moto itself is gone.
        drop(shared.upstream.forward(&order).await);
        shared.launches.finish_end(&ids);
    });
    Ok(Some(Reply::xml(format!(
        "<TerminateInstancesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>{}</requestId>\
         <instancesSet>{items}</instancesSet></TerminateInstancesResponse>",
        uuid::Uuid::new_v4()
    ))))
}

async fn is_protected(state: &State, region: &str, id: &str) -> Result<bool, Error> {
    let params = [("InstanceId", id), ("Attribute", "disableApiTermination")];
    let xml = state.upstream.query(EC2, region, "DescribeInstanceAttribute", &params).await?;
    let document = Document::parse(&xml)?;
    Ok(text(document.root_element(), &["disableApiTermination", "value"]) == Some("true"))
}
