//! Launches: one for each client token, and none with an instance profile that EC2 does not know yet.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use hyper::StatusCode;
use roxmltree::Document;

use crate::gateway::Error;
use crate::gateway::rule::registration;
use crate::gateway::state::State;
use crate::gateway::upstream::api::EC2;
use crate::gateway::wire::reply::Reply;
use crate::gateway::wire::request::{Protocol, Request};
use crate::gateway::wire::xml::{all, find};

/// Launches instances, once for each client token.
pub(super) async fn run(state: &Arc<State>, request: &Request) -> Result<Reply, Error> {
    let Some(token) = request.param("ClientToken") else { return launch(state, request).await };
    let mut form = request.form.clone();
    form.remove("ClientToken");
    let remembered = state.launches.launch(request.region(), token, &form);
    if remembered.form != form {
        let message = "The client token you have provided is associated with a resource that is already \
                       launched or in the process of being launched, with different parameters.";
        return Ok(Reply::refuse(Protocol::Ec2, 400, "IdempotentParameterMismatch", message));
    }
    let mut first = None;
    let slot = &mut first;
    // Two calls at the same time make one instance: the second waits for the first.
    let ids = remembered.ids.get_or_try_init(move || async move {
        let reply = launch(state, request).await.map_err(Err)?;
        if reply.status != StatusCode::OK {
            return Err(Ok(reply));
        }
        let ids = instance_ids(&reply).map_err(Err)?;
        *slot = Some(reply);
        Ok(ids)
    });
    match ids.await {
        Ok(ids) => match first {
            Some(reply) => {
                // A refused call with the same token may have removed it meanwhile.
                state.launches.remember(request.region(), token, Arc::clone(&remembered));
                Ok(reply)
            }
            None => again(state, request, ids).await,
        },
        // A refused launch does not use its token up.
        Err(refused) => {
            state.launches.forget(request.region(), token);
            refused
        }
    }
}

async fn launch(state: &Arc<State>, request: &Request) -> Result<Reply, Error> {
    let profile = request
        .param("IamInstanceProfile.Name")
        .or_else(|| request.param("IamInstanceProfile.Arn").and_then(|arn| arn.rsplit('/').next()));
    if let Some(name) = profile.filter(|name| !state.launches.knows_profile(name)) {
        let message = format!(
            "Value ({name}) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name"
        );
        return Ok(Reply::refuse(Protocol::Ec2, 400, "InvalidParameterValue", &message));
    }
    let reply = state.upstream.forward(&with_own_interfaces(request)).await?;
    if reply.status == StatusCode::OK {
        for id in instance_ids(&reply)? {
            registration::boot(state, request.region(), &id);
        }
    }
    Ok(reply)
}

/// EC2 deletes an interface that a launch made together with the instance, unless told otherwise. moto would keep it.
fn with_own_interfaces(request: &Request) -> Request {
    let indexes: HashSet<&str> = request
        .form
        .keys()
        .filter_map(|name| name.strip_prefix("NetworkInterface.")?.split('.').next())
        .collect();
    let mut body = String::from_utf8_lossy(&request.body).into_owned();
    for index in indexes {
        let name = format!("NetworkInterface.{index}.DeleteOnTermination");
        let given = format!("NetworkInterface.{index}.NetworkInterfaceId");
        if request.param(&name).is_none() && request.param(&given).is_none() {
            body.push_str(&format!("&{name}=true"));
        }
    }
    Request { body: Bytes::from(body), ..request.clone() }
}

fn instance_ids(reply: &Reply) -> Result<Vec<String>, Error> {
    let xml = reply.text();
    let document = Document::parse(&xml)?;
    Ok(all(&document, "instanceId").into_iter().filter_map(|id| id.text()).map(str::to_owned).collect())
}

/// Answers a launch with the instances that an earlier call with its token made.
async fn again(state: &State, request: &Request, ids: &[String]) -> Result<Reply, Error> {
    let names: Vec<String> = (1..=ids.len()).map(|n| format!("InstanceId.{n}")).collect();
    let params: Vec<(&str, &str)> =
        names.iter().zip(ids).map(|(name, id)| (name.as_str(), id.as_str())).collect();
    let xml = state.upstream.query(EC2, request.region(), "DescribeInstances", &params).await?;
    let document = Document::parse(&xml)?;
    let root = document.root_element();
    let reservation = find(root, &["reservationSet", "item"])
        .map(|item| item.children().map(|child| &xml[child.range()]).collect::<String>())
        .unwrap_or_default();
    let namespace = root.tag_name().namespace().unwrap_or_default();
    Ok(Reply::xml(format!(
        "<RunInstancesResponse xmlns=\"{namespace}\">{reservation}</RunInstancesResponse>"
    )))
}
