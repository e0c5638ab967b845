//! Session Manager: the operations that moto does not have.

mod session;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::gateway::Error;
use crate::gateway::agent::session::AgentSession;
use crate::gateway::memory::sessions::{Record, Resumed};
use crate::gateway::options::ResumeUrl;
use crate::gateway::rule::registration::{self, PingStatus};
use crate::gateway::state::State;
use crate::gateway::upstream::inventory::{Instance, Inventory};
use crate::gateway::wire::reply::Reply;
use crate::gateway::wire::request::{Protocol, Request};
use crate::gateway::wire::websocket::data_channel_url;

const TO_REMOTE_HOST: &str = "AWS-StartPortForwardingSessionToRemoteHost";
const TO_INSTANCE: &str = "AWS-StartPortForwardingSession";
/// The document of a session that names none.
const SHELL: &str = "SSM-SessionManagerRunShell";
const COMMANDS: [&str; 2] = ["AWS-StartInteractiveCommand", "AWS-StartNonInteractiveCommand"];

/// Answers the operations that are ours.
pub(crate) async fn answer(state: &Arc<State>, request: &Request) -> Result<Option<Reply>, Error> {
    let body = request.json();
    Ok(Some(match request.operation.as_deref() {
        Some("StartSession") => start(state, request, &body).await?,
        Some("ResumeSession") => resume(state, &body),
        Some("TerminateSession") => terminate(state, &body),
        Some("DescribeSessions") => describe(state, request.region(), &body),
        Some("GetConnectionStatus") => connection_status(state, request, &body).await?,
        Some("DescribeInstanceInformation") => instance_information(state, request, &body).await?,
        _ => return Ok(None),
    }))
}

async fn start(state: &Arc<State>, request: &Request, body: &Value) -> Result<Reply, Error> {
    let Some(target) = body["Target"].as_str() else {
        return Ok(refuse(
            "ValidationException",
            "1 validation error detected: Value at 'target' must not be null",
        ));
    };
    let info = match requested(target, request.region(), body) {
        Ok(info) => info,
        Err(reply) => return Ok(*reply),
    };
    let (status, _) = registration::observe(state, request.region(), target).await?;
    if status != PingStatus::Online || !state.agents.is_ready(target) {
        return Ok(refuse("TargetNotConnected", &format!("{target} is not connected.")));
    }
    let id = info.session_id.clone();
    let token = session::start(state, info, owner(request), body["Reason"].as_str().map(str::to_owned));
    Ok(Reply::json(
        &json!({ "SessionId": id, "StreamUrl": data_channel_url(state.address, &id), "TokenValue": token }),
    ))
}

/// Returns the session that a request asks for, or the refusal.
fn requested(target: &str, region: &str, body: &Value) -> Result<AgentSession, Box<Reply>> {
    let invalid = |message: &str| Box::new(refuse("InvalidParameters", message));
    let document = body["DocumentName"].as_str().unwrap_or(SHELL);
    let parameters: BTreeMap<String, String> = body["Parameters"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(name, values)| Some((name.clone(), values[0].as_str()?.to_owned())))
        .collect();
    let parameter = |name: &str| parameters.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let (host, port) = if [TO_REMOTE_HOST, TO_INSTANCE].contains(&document) {
        let host = if document == TO_REMOTE_HOST { parameter("host") } else { Some("localhost") };
        let port = parameter("portNumber").unwrap_or("80").parse().ok().filter(|port| *port > 0);
        (
            host.ok_or_else(|| invalid("Parameter host is required."))?,
            port.ok_or_else(|| invalid("Parameter portNumber is not a port."))?,
        )
    } else if document == SHELL || COMMANDS.contains(&document) {
        if document != SHELL && parameter("command").is_none() {
            return Err(invalid("Parameter command is required."));
        }
        ("localhost", 0)
    } else {
        let message = format!("Document with name {document} does not exist.");
        return Err(Box::new(refuse("InvalidDocument", &message)));
    };
    Ok(AgentSession {
        session_id: format!("sandbox-{}", &Uuid::new_v4().simple().to_string()[..17]),
        instance_id: target.to_owned(),
        region: region.to_owned(),
        host: host.to_owned(),
        port,
        local_port: parameter("localPortNumber").unwrap_or("0").to_owned(),
        document: document.to_owned(),
        parameters,
    })
}

fn resume(state: &State, body: &Value) -> Reply {
    let id = body["SessionId"].as_str().unwrap_or_default();
    match state.sessions.resume(id) {
        Resumed::Unknown => refuse("DoesNotExistException", &format!("Session {id} does not exist.")),
        Resumed::Ended => Reply::json(&json!({ "SessionId": id, "StreamUrl": null, "TokenValue": null })),
        Resumed::Token(token) => {
            let url = match state.options.resume_url {
                ResumeUrl::Named => json!(data_channel_url(state.address, id)),
                ResumeUrl::Omitted => Value::Null,
            };
            Reply::json(&json!({ "SessionId": id, "StreamUrl": url, "TokenValue": token }))
        }
    }
}

fn terminate(state: &State, body: &Value) -> Reply {
    let id = body["SessionId"].as_str().unwrap_or_default();
    if state.sessions.terminate(id, "") {
        Reply::json(&json!({ "SessionId": id }))
    } else {
        refuse("DoesNotExistException", &format!("Session {id} does not exist."))
    }
}

fn describe(state: &State, region: &str, body: &Value) -> Reply {
    let active = match body["State"].as_str() {
        Some("Active") => true,
        Some("History") => false,
        _ => return refuse("ValidationException", "Value at 'state' must be one of [Active, History]"),
    };
    let filters: Vec<(String, String)> = body["Filters"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|filter| Some((filter["key"].as_str()?.to_owned(), filter["value"].as_str()?.to_owned())))
        .collect();
    let shown: Vec<Value> = state
        .sessions
        .records()
        .iter()
        .filter(|record| record.info.region == region && record.ended.is_none() == active)
        .filter(|record| filters.iter().all(|(key, value)| passes(record, key, value)))
        .map(render)
        .collect();
    Reply::json(&json!({ "Sessions": shown }))
}

fn status(record: &Record) -> &'static str {
    if record.ended.is_none() { "Connected" } else { "Terminated" }
}

fn passes(record: &Record, key: &str, value: &str) -> bool {
    match key {
        "Target" => record.info.instance_id == value,
        "Owner" => record.owner == value,
        "Status" => status(record) == value,
        "SessionId" => record.info.session_id == value,
        _ => true,
    }
}

fn render(record: &Record) -> Value {
    let mut shown = json!({
        "SessionId": record.info.session_id,
        "Target": record.info.instance_id,
        "Status": status(record),
        "StartDate": seconds(record.started),
        "DocumentName": record.info.document,
        "Owner": record.owner,
    });
    if let Some(ended) = record.ended {
        shown["EndDate"] = seconds(ended);
    }
    if let Some(reason) = &record.reason {
        shown["Reason"] = reason.clone().into();
    }
    shown
}

async fn connection_status(state: &Arc<State>, request: &Request, body: &Value) -> Result<Reply, Error> {
    let target = body["Target"].as_str().unwrap_or_default();
    let (status, _) = registration::observe(state, request.region(), target).await?;
    let connected = status == PingStatus::Online && state.agents.is_ready(target);
    let status = if connected { "connected" } else { "notconnected" };
    Ok(Reply::json(&json!({ "Target": target, "Status": status })))
}

async fn instance_information(state: &Arc<State>, request: &Request, body: &Value) -> Result<Reply, Error> {
    let ids = wanted(body, "InstanceIds");
    let pings = wanted(body, "PingStatus");
    let all = Inventory::new(&state.upstream, request.region()).instances(None).await?;
    let mut shown = Vec::new();
    for instance in all.iter().filter(|instance| !instance.is_terminated()) {
        if ids.as_ref().is_some_and(|ids| !ids.contains(&instance.id)) {
            continue;
        }
        let (status, instance) = registration::observe(state, request.region(), &instance.id).await?;
        let ping = match status {
            PingStatus::Unknown => continue,
            PingStatus::Lost => "ConnectionLost",
            PingStatus::Online => "Online",
        };
        if pings.as_ref().is_some_and(|pings| !pings.iter().any(|wanted| wanted == ping)) {
            continue;
        }
        shown.extend(instance.map(|instance| information(&instance, ping)));
    }
    Ok(Reply::json(&json!({ "InstanceInformationList": shown })))
}

/// Returns the values of a filter, in the newer or the older of its two shapes.
fn wanted(body: &Value, key: &str) -> Option<Vec<String>> {
    let newer = body["Filters"].as_array().into_iter().flatten().map(|f| (&f["Key"], &f["Values"]));
    let older = body["InstanceInformationFilterList"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|f| (&f["key"], &f["valueSet"]));
    let (_, values) = newer.chain(older).find(|(name, _)| *name == key)?;
    Some(values.as_array()?.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

fn information(instance: &Instance, ping: &str) -> Value {
    json!({
        "InstanceId": instance.id,
        "PingStatus": ping,
        "LastPingDateTime": seconds(Timestamp::now()),
        "AgentVersion": "3.3.987.0",
        "IsLatestVersion": true,
        "PlatformType": "Linux",
        "PlatformName": "Amazon Linux",
        "PlatformVersion": "2023",
        "ResourceType": "EC2Instance",
        "IPAddress": instance.private_ip,
        "ComputerName": format!("{}.ec2.internal", instance.id),
        "SourceId": instance.id,
        "SourceType": "AWS::EC2::Instance",
    })
}

/// A date as JSON services write it.
fn seconds(time: Timestamp) -> Value {
    json!(time.as_millisecond() as f64 / 1000.0)
}

/// moto knows one caller.
fn owner(request: &Request) -> String {
    let name = request.scope.as_ref().map_or("moto", |scope| scope.access_key.as_str());
    format!("arn:aws:iam::123456789012:user/{name}")
}

fn refuse(code: &str, message: &str) -> Reply {
    Reply::refuse(Protocol::Json, 400, code, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(body: &Value) -> String {
        let reply = requested("i-1", "us-east-1", body).expect_err("refused");
        serde_json::from_slice::<Value>(&reply.body).unwrap()["__type"].as_str().unwrap().to_owned()
    }

    #[test]
    fn a_port_forward_to_a_remote_host_names_host_and_port() {
        let body = json!({ "Target": "i-1", "DocumentName": TO_REMOTE_HOST,
            "Parameters": { "host": ["db.internal"], "portNumber": ["5432"], "localPortNumber": ["15432"] } });
        let info = requested("i-1", "us-east-1", &body).unwrap();
        assert_eq!((info.host.as_str(), info.port, info.local_port.as_str()), ("db.internal", 5432, "15432"));
    }

    #[test]
    fn a_session_without_a_document_is_a_shell_and_a_command_is_handed_on() {
        let shell = requested("i-1", "eu-west-1", &json!({})).unwrap();
        assert_eq!((shell.document.as_str(), shell.region.as_str()), (SHELL, "eu-west-1"));
        for document in COMMANDS {
            let body = json!({ "DocumentName": document, "Parameters": { "command": ["ls -l"] } });
            let info = requested("i-1", "eu-west-1", &body).unwrap();
            assert_eq!((info.document.as_str(), info.parameters["command"].as_str()), (document, "ls -l"));
        }
    }

    #[test]
    fn what_cannot_be_served_is_refused_with_the_code_of_the_service() {
        assert_eq!(code(&json!({ "DocumentName": "No-Such" })), "InvalidDocument");
        assert_eq!(code(&json!({ "DocumentName": COMMANDS[1], "Parameters": {} })), "InvalidParameters");
        assert_eq!(code(&json!({ "DocumentName": TO_REMOTE_HOST })), "InvalidParameters");
        let port = json!({ "DocumentName": TO_INSTANCE, "Parameters": { "portNumber": ["0"] } });
        assert_eq!(code(&port), "InvalidParameters");
    }

    #[test]
    fn both_shapes_of_the_instance_filter_are_read() {
        let newer = json!({ "Filters": [{ "Key": "InstanceIds", "Values": ["i-1"] }] });
        let older =
            json!({ "InstanceInformationFilterList": [{ "key": "InstanceIds", "valueSet": ["i-2"] }] });
        assert_eq!(wanted(&newer, "InstanceIds"), Some(vec!["i-1".to_owned()]));
        assert_eq!(wanted(&older, "InstanceIds"), Some(vec!["i-2".to_owned()]));
        assert_eq!(wanted(&json!({}), "InstanceIds"), None);
    }
}
