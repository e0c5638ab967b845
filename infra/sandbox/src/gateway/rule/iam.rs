//! IAM: instance profiles that EC2 knows late, and the simulation of denials.

use bytes::Bytes;
use hyper::StatusCode;
use roxmltree::Document;

use super::sts::give_credentials;
use crate::gateway::Error;
use crate::gateway::memory::denials::Denials;
use crate::gateway::state::State;
use crate::gateway::upstream::Upstream;
use crate::gateway::wire::reply::Reply;
use crate::gateway::wire::request::Request;
use crate::gateway::wire::xml::{all, escape, items, replace, text};

/// Answers the operations that are ours.
pub(crate) async fn answer(state: &State, request: &Request) -> Result<Option<Reply>, Error> {
    Ok(Some(match request.operation.as_deref() {
        Some("CreateInstanceProfile") => create_profile(state, request).await?,
        Some("ListInstanceProfiles") => list_profiles(&state.upstream, request).await?,
        Some("SimulatePrincipalPolicy") => simulate(&state.denials, request),
        Some("CreateAccessKey") => give_credentials(&state.upstream, &state.signers, request).await?,
        _ => return Ok(None),
    }))
}

/// Creates an instance profile. EC2 knows it a while later.
async fn create_profile(state: &State, request: &Request) -> Result<Reply, Error> {
    let reply = state.upstream.forward(request).await?;
    if let (StatusCode::OK, Some(name)) = (reply.status, request.param("InstanceProfileName")) {
        state.launches.add_profile(name, state.options.profile_refusals);
    }
    Ok(reply)
}

/// Lists the profiles under the requested path; moto lists all.
async fn list_profiles(upstream: &Upstream, request: &Request) -> Result<Reply, Error> {
    let reply = upstream.forward(request).await?;
    let prefix = request.param("PathPrefix").unwrap_or("/");
    if reply.status != StatusCode::OK {
        return Ok(reply);
    }
    let xml = reply.text();
    let document = Document::parse(&xml)?;
    let profiles = all(&document, "InstanceProfiles").into_iter().flat_map(|list| items(list, &[]));
    let others = profiles.filter(|profile| !text(*profile, &["Path"]).unwrap_or("/").starts_with(prefix));
    let edits = others.map(|profile| (profile.range(), String::new())).collect();
    Ok(Reply { body: Bytes::from(replace(&xml, edits)), ..reply })
}

/// Answers SimulatePrincipalPolicy, which moto lacks. Everything that is not denied here is allowed to everybody.
fn simulate(denials: &Denials, request: &Request) -> Reply {
    let resources = match request.list("ResourceArns") {
        list if list.is_empty() => vec!["*".to_owned()],
        list => list,
    };
    let mut members = String::new();
    for action in request.list("ActionNames") {
        let (service, operation) = action.split_once(':').unwrap_or(("", &action));
        let decision = if denials.has(service, operation) { "explicitDeny" } else { "allowed" };
        for resource in &resources {
            members.push_str(&format!(
                "<member><EvalActionName>{}</EvalActionName><EvalResourceName>{}</EvalResourceName>\
                 <EvalDecision>{decision}</EvalDecision><MatchedStatements/><MissingContextValues/></member>",
                escape(&action),
                escape(resource)
            ));
        }
    }
    Reply::xml(format!(
        "<SimulatePrincipalPolicyResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\">\
         <SimulatePrincipalPolicyResult><IsTruncated>false</IsTruncated><EvaluationResults>{members}\
         </EvaluationResults></SimulatePrincipalPolicyResult><ResponseMetadata><RequestId>{}</RequestId>\
         </ResponseMetadata></SimulatePrincipalPolicyResponse>",
        uuid::Uuid::new_v4()
    ))
}
