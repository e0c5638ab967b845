//! Why a tunnel or a session failed: its exit code, and what to type next.

use std::error::Error as StdError;

use stack::{Inventory, Stack};
use tunnel::Error;

use super::call::{self, AGENT, CLOCK, NETWORK};
use crate::failure::{Exit, Failure};

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        of_tunnel(error)
    }
}

/// Returns the failure of a tunnel or a session, with the exit code and the hint of its cause.
fn of_tunnel(error: Error) -> Failure {
    let (exit, hints) = judge(&error);
    hints.into_iter().fold(Failure::new(exit, error), Failure::hint)
}

/// As [`of_tunnel`], for an error that may have a tunnel's behind it, as a stream's has; `text` says what failed.
pub(crate) fn of_stream(error: impl Into<anyhow::Error>, text: String) -> Failure {
    let error = error.into();
    let (exit, hints) = find(error.as_ref()).map_or((Exit::Tunnel, vec![AGENT.to_owned()]), judge);
    hints.into_iter().fold(Failure::new(exit, error.context(text)), Failure::hint)
}

/// Returns the tunnel's error that is behind another, if there is one.
pub(crate) fn find<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Error> {
    let mut cause: Option<&'a (dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<Error>() {
            return Some(found);
        }
        // What is wrapped in an I/O error is not its source, but itself.
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(found) = inner.and_then(|inner| find(inner)) {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

#[expect(clippy::wildcard_enum_match_arm, reason = "most have no hint of their own, and more may come")]
fn judge(error: &Error) -> (Exit, Vec<String>) {
    let hint = match error {
        Error::Control { source, .. } => {
            return match source.downcast_ref::<aws::Error>() {
                Some(error) => (exit(error), call::hints(error)),
                None => (Exit::Tunnel, call::hints_of_silence()),
            };
        }
        Error::Refused { status: 401 | 403, .. } => format!(
            "the service does not accept the signature or the token: {CLOCK}; or a policy forbids `ssmmessages`, which \
             `cargo xtask iam print connect` allows"
        ),
        Error::Refused { .. } | Error::Connect { .. } => NETWORK.to_owned(),
        Error::Tls(_) => "look at this machine's root certificates: SSL_CERT_FILE, SSL_CERT_DIR".to_owned(),
        Error::HandshakeTimedOut { .. } | Error::Lost { .. } | Error::Disconnected { .. } => AGENT.to_owned(),
        Error::SessionEnded { .. } => {
            "the service or the agent ended the session; `cargo xtask doctor` looks for the reason".to_owned()
        }
        Error::AgentTooOld { .. } => {
            "run `cargo xtask down bastion`, then `cargo xtask up bastion`, for one with a newer agent".to_owned()
        }
        Error::ConnectFailed { target } => {
            let (host, port) = target.rsplit_once(':').unwrap_or((target, ""));
            format!(
                "`cargo xtask bastion shell -- getent hosts {host}` tells whether the bastion knows that name; if it does, \
                 nothing accepts connections at port {port} there"
            )
        }
        Error::Unanswered { .. } => {
            "something drops the packets on the way: `cargo xtask up security-groups` mends the stack's own rules, and \
             `cargo xtask doctor` looks at the network ACLs as well"
                .to_owned()
        }
        Error::UnknownHost { .. } => {
            "check the name: the bastion resolves it with the DNS servers of its own network".to_owned()
        }
        Error::Forbidden { .. } => {
            "name a port of the bastion itself as `localhost:PORT`; its link-local and metadata addresses stay closed"
                .to_owned()
        }
        Error::AgentSilent { .. } => format!("the agent on the bastion does not answer any more; {AGENT}"),
        Error::EndedUnderUpload { .. } => {
            "run it again; it happens less often with less on the way: `message_bytes = 1024` under `[bastion]` in the \
             stack file, or a slower upload"
                .to_owned()
        }
        _ => return (Exit::Tunnel, Vec::new()),
    };
    (Exit::Tunnel, vec![hint])
}

fn exit(error: &aws::Error) -> Exit {
    match error.kind() {
        aws::Kind::Credentials => Exit::Permission,
        aws::Kind::Interrupted => Exit::Interrupted,
        aws::Kind::Usage | aws::Kind::Refused | aws::Kind::Other => Exit::Tunnel,
    }
}

/// Returns why the first session could not be started. Only where AWS says that the bastion is not connected can the reason be
/// in the stack, and the inventory may show it.
pub(crate) fn of_session(error: aws::Error, stack: &Stack, inventory: &Inventory) -> Failure {
    const WHAT: &str = "cannot open a session to the bastion";
    let is_of_target =
        matches!(error.code(), Some("TargetNotConnected" | "InvalidTarget" | "InvalidInstanceId"));
    let findings = if is_of_target { stack::finding::bastion(stack, inventory) } else { Vec::new() };
    if let Some(finding) = findings.first() {
        let cause = anyhow::Error::msg(finding.sentence.clone());
        return Failure::new(Exit::Tunnel, cause.context(WHAT)).hint(finding.command.clone());
    }
    let (exit, hints) = (exit(&error), call::hints(&error));
    let error = anyhow::Error::new(error).context(WHAT);
    hints.into_iter().fold(Failure::new(exit, error), Failure::hint)
}

/// Returns the command that finds out more about why a connection through a tunnel failed.
pub(crate) fn command_of(error: Option<&Error>) -> &'static str {
    match error {
        Some(Error::Unanswered { .. }) | None => "cargo xtask up security-groups",
        Some(Error::ConnectFailed { .. }) => "cargo xtask status",
        Some(Error::Control { .. } | Error::Refused { .. } | Error::Connect { .. } | Error::Tls(_)) => {
            "date -u, and AWS's credentials and this machine's way out"
        }
        Some(_) => "cargo xtask bastion reboot",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    fn told(error: Error) -> (Exit, String) {
        let failure = of_tunnel(error);
        (failure.exit, failure.hints.join("\n"))
    }

    #[test]
    fn each_cause_has_a_hint_of_its_own() {
        let source: Arc<dyn StdError + Send + Sync> =
            Arc::from(Box::from("the helper says: no token") as Box<dyn StdError + Send + Sync>);
        let limit = Duration::from_secs(15);
        let host = "ssmmessages:443".to_owned();
        let target = "db.internal:5432".to_owned();
        let credentials = aws::Error::Credentials { source: "the helper says: no token".into() };
        let all = [
            (Error::Control { action: "sign", source: Arc::new(credentials) }, "aws sso login"),
            (Error::Refused { host: host.clone(), status: 403 }, "clock"),
            (Error::Connect { host, source }, "DNS, proxy"),
            (Error::HandshakeTimedOut { limit }, "bastion reboot"),
            (Error::ConnectFailed { target: target.clone() }, "getent hosts db.internal"),
            (Error::Unanswered { target, limit }, "up security-groups"),
            (Error::UnknownHost { said: "no such host".to_owned() }, "check the name"),
            (Error::Forbidden { said: "forbidden".to_owned() }, "localhost:PORT"),
            (Error::AgentSilent { limit }, "does not answer any more"),
            (Error::EndedUnderUpload { unacknowledged: 1 }, "message_bytes"),
        ];
        let hints: Vec<String> = all.iter().map(|(error, _)| told(error.clone()).1).collect();
        for ((error, words), hint) in all.iter().zip(&hints) {
            assert!(hint.contains(words), "{error}: {hint}");
            assert_eq!(hints.iter().filter(|other| *other == hint).count(), 1, "{error}: {hint}");
        }
        assert_eq!(told(all[0].0.clone()).0, Exit::Permission, "no credentials is no broken tunnel");
    }

    #[test]
    fn the_cause_is_found_behind_what_a_stream_says() {
        let error = Error::ConnectFailed { target: "db.internal:5432".to_owned() };
        let failure = of_stream(std::io::Error::other(error), "the tunnel does not reach it".to_owned());
        assert!(failure.hints[0].contains("getent"), "{:?}", failure.hints);
        assert!(failure.chain().starts_with("the tunnel does not reach it: "), "{}", failure.chain());
    }
}
