//! Sessions of Session Manager: starting, resuming and ending one, and the agent that takes it.

mod permit;
mod sign;

use std::net::IpAddr;

use aws_sdk_ssm::primitives::DateTimeFormat;
use aws_sdk_ssm::types::{InstanceInformationStringFilter, SessionFilter, SessionFilterKey, SessionState};
use stack::Secret;
use stack::inventory::Agent;

pub(crate) use self::permit::simulate;
pub use self::sign::{log_in, sign};
use crate::error::failed;
pub use crate::ready::{Asleep, ReadyWait, wait_until_openable};
use crate::{Cloud, Error};

const TO_REMOTE_HOST: &str = "AWS-StartPortForwardingSessionToRemoteHost";
/// The document for ports of the instance itself: agents refuse loopback addresses as remote hosts.
const TO_INSTANCE: &str = "AWS-StartPortForwardingSession";
const COMMAND: &str = "AWS-StartNonInteractiveCommand";

/// What a session is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It forwards to a port, as seen from the instance.
    Port {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// A terminal with a shell in it. The account's preferences say whose it is and whether it is encrypted.
    Shell,
    /// A command and its arguments, without a terminal: output, errors and the exit code come back.
    Command(Vec<String>),
}

/// A session that waits for its data channel to be opened.
#[derive(Clone, Debug)]
pub struct Started {
    /// The session's id.
    pub session_id: String,
    /// The data channel's address, to be used as it is.
    pub url: String,
    /// What the first message must carry.
    pub token: Secret,
}

/// Starts a session.
///
/// # Errors
/// [`Error::Service`] with the code `TargetNotConnected` if the instance's agent is not connected.
pub async fn start(cloud: &Cloud, instance_id: &str, purpose: &Purpose) -> Result<Started, Error> {
    let call = cloud.ssm.start_session().target(instance_id);
    let call = match purpose {
        Purpose::Port { host, port } if is_loopback(host) => call
            .document_name(TO_INSTANCE)
            .parameters("portNumber", vec![port.to_string()])
            .parameters("localPortNumber", vec![port.to_string()]),
        Purpose::Port { host, port } => call
            .document_name(TO_REMOTE_HOST)
            .parameters("host", vec![host.clone()])
            .parameters("portNumber", vec![port.to_string()]),
        Purpose::Shell => call,
        Purpose::Command(words) => call
            .document_name(COMMAND)
            .parameters("command", vec![command_line(words)])
            // Without it, agents mix errors with output and send no exit code.
            .parameters("separateOutputStream", vec!["true".to_owned()]),
    };
    let answer = call.send().await.map_err(failed("ssm", "StartSession"))?;
    let field = |value: Option<String>, field| {
        let value = value.filter(|value| !value.is_empty());
        value.ok_or(Error::Incomplete { service: "ssm", operation: "StartSession", field })
    };
    Ok(Started {
        session_id: field(answer.session_id, "session id")?,
        url: field(answer.stream_url, "stream URL")?,
        token: Secret::new(field(answer.token_value, "token")?),
    })
}

/// Tells whether the host is a loopback address, that is the instance itself.
fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Quotes the words into a line that the agent splits into the same words.
fn command_line(words: &[String]) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=@%+,".contains(&byte);
    let quoted: Vec<String> = words
        .iter()
        .map(|word| {
            if !word.is_empty() && word.bytes().all(plain) {
                word.clone()
            } else {
                format!("'{}'", word.replace('\'', r"'\''"))
            }
        })
        .collect();
    quoted.join(" ")
}

/// Returns a new token for a session whose channel broke, and its address, which is empty if the old one is still valid.
/// `None` if the session is over.
///
/// # Errors
/// As AWS says.
pub async fn resume(cloud: &Cloud, session_id: &str) -> Result<Option<Started>, Error> {
    let call = cloud.ssm.resume_session().session_id(session_id).send();
    let answer = match call.await.map_err(failed("ssm", "ResumeSession")) {
        Ok(answer) => answer,
        Err(error) if error.is_gone() => return Ok(None),
        Err(error) => return Err(error),
    };
    let present = |value: Option<String>| value.filter(|value| !value.is_empty());
    let url = answer.stream_url.unwrap_or_default();
    Ok(present(answer.token_value).map(|token| Started {
        session_id: session_id.to_owned(),
        url,
        token: Secret::new(token),
    }))
}

/// Ends a session; one that is over already counts as ended.
///
/// # Errors
/// As AWS says.
pub async fn terminate(cloud: &Cloud, session_id: &str) -> Result<(), Error> {
    let call = cloud.ssm.terminate_session().session_id(session_id).send();
    match call.await.map_err(failed("ssm", "TerminateSession")) {
        Err(error) if !error.is_gone() => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Returns the instance's agent as Systems Manager knows it; `None` if it has never registered.
pub(crate) async fn find_agent(cloud: &Cloud, instance_id: &str) -> Result<Option<Agent>, Error> {
    let filter = InstanceInformationStringFilter::builder().key("InstanceIds").values(instance_id).build();
    let call = cloud
        .ssm
        .describe_instance_information()
        .filters(filter.expect("invariant: the filter has a key and a value"));
    let answer = call.send().await.map_err(failed("ssm", "DescribeInstanceInformation"))?;
    let rows = answer.instance_information_list.unwrap_or_default();
    let row = rows.into_iter().find(|row| row.instance_id() == Some(instance_id));
    Ok(row.map(|row| Agent {
        instance: instance_id.to_owned(),
        ping_status: row.ping_status().map_or("unknown", |status| status.as_str()).to_owned(),
        version: row.agent_version,
    }))
}

/// A session that is open now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Active {
    /// Its id.
    pub id: String,
    /// Who opened it, an ARN.
    pub owner: String,
    /// When, RFC 3339.
    pub started_at: Option<String>,
}

/// Returns the sessions that are open to the instance.
///
/// # Errors
/// As AWS says.
pub async fn list_active(cloud: &Cloud, instance_id: &str) -> Result<Vec<Active>, Error> {
    let filter = SessionFilter::builder().key(SessionFilterKey::TargetId).value(instance_id).build();
    let filter = filter.expect("invariant: the filter has a key and a value");
    let call = cloud.ssm.describe_sessions().state(SessionState::Active).filters(filter);
    let sessions: Result<Vec<aws_sdk_ssm::types::Session>, _> =
        call.into_paginator().items().send().collect().await;
    let sessions = sessions.map_err(failed("ssm", "DescribeSessions"))?;
    let read = |session: &aws_sdk_ssm::types::Session| Active {
        id: session.session_id().unwrap_or_default().to_owned(),
        owner: session.owner().unwrap_or_default().to_owned(),
        started_at: session.start_date().and_then(|time| time.fmt(DateTimeFormat::DateTime).ok()),
    };
    Ok(sessions.iter().map(read).collect())
}

/// Returns `connected` or `notconnected`.
pub(crate) async fn connection_status(cloud: &Cloud, instance_id: &str) -> Result<String, Error> {
    let call = cloud.ssm.get_connection_status().target(instance_id).send();
    let answer = call.await.map_err(failed("ssm", "GetConnectionStatus"))?;
    Ok(answer.status().map_or("unknown", |status| status.as_str()).to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_a_command_stays_one() {
        let line =
            |words: &[&str]| command_line(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(line(&["ls", "-l", "/etc/hosts"]), "ls -l /etc/hosts");
        assert_eq!(line(&["echo", "", "a b", "$HOME", "it's", "#"]), r"echo '' 'a b' '$HOME' 'it'\''s' '#'");
    }
}
