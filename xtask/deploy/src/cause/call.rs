//! Why a call to AWS failed: its exit code, and what to type next.

use crate::failure::{Exit, Failure};

/// Error codes for a signature with a wrong time.
const NOT_OF_NOW: [&str; 5] = [
    "RequestTimeTooSkewed",
    "RequestExpired",
    "RequestInTheFuture",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
];
pub(super) const CLOCK: &str =
    "compare this machine's clock with the time (`date -u`); if it is right, the secret access key is not";
pub(super) const NETWORK: &str =
    "look at this machine's way out: DNS, proxy, firewall, and AWS_ENDPOINT_URL if it is set";
pub(super) const AGENT: &str = "`cargo xtask doctor` tells whether the bastion's agent lives, and `cargo xtask bastion reboot` starts it anew";

/// Returns the hint for an error code of AWS; empty if the code has none.
fn hints_of_code(service: &str, operation: &str, code: &str) -> Vec<String> {
    let hint = match code {
        "TargetNotConnected" => AGENT.to_owned(),
        "ExpiredToken" | "ExpiredTokenException" => {
            "the credentials have expired: log in again (`aws sso login`), then run the same again".to_owned()
        }
        "InvalidClientTokenId" | "UnrecognizedClientException" | "AuthFailure" | "InvalidAccessKeyId" => {
            "AWS does not know these credentials: look at AWS_PROFILE, AWS_ACCESS_KEY_ID and the region's opt-in"
                .to_owned()
        }
        "AccessDenied" | "AccessDeniedException" | "AccessDeniedFault" | "UnauthorizedOperation" => {
            format!("allow `{service}:{operation}`; `cargo xtask iam print {}` prints the policy", policy(operation))
        }
        code if NOT_OF_NOW.contains(&code) => CLOCK.to_owned(),
        _ => return Vec::new(),
    };
    vec![hint]
}

/// Returns the task of `iam print` that the call belongs to.
fn policy(operation: &str) -> &'static str {
    match operation {
        "StartSession" | "ResumeSession" | "TerminateSession" | "GetSecretValue" => "connect",
        _ if ["Describe", "Get", "List"].iter().any(|verb| operation.starts_with(verb)) => "status",
        _ if operation.starts_with("Delete") || operation.starts_with("Terminate") => "down",
        _ => "up",
    }
}

/// Returns the hint for a call that AWS did not answer.
pub(super) fn hints_of_silence() -> Vec<String> {
    vec![NETWORK.to_owned()]
}

impl From<aws::Error> for Failure {
    fn from(error: aws::Error) -> Failure {
        let hints = hints(&error);
        hints.into_iter().fold(Failure::new(exit(&error), error), Failure::hint)
    }
}

/// Returns the failure of a plan; `apply` adds what still runs.
pub(crate) fn of_apply(error: aws::ApplyError) -> Failure {
    let hints = hints(&error.source);
    hints.into_iter().fold(Failure::new(exit(&error.source), error), Failure::hint)
}

fn exit(error: &aws::Error) -> Exit {
    match error.kind() {
        aws::Kind::Credentials => Exit::Permission,
        aws::Kind::Refused => Exit::Aws,
        aws::Kind::Usage => Exit::Usage,
        aws::Kind::Interrupted => Exit::Interrupted,
        aws::Kind::Other => Exit::Failure,
    }
}

/// Returns the hints for an error.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "most errors have no hint of their own, and more may come"
)]
pub(crate) fn hints(error: &aws::Error) -> Vec<String> {
    match error {
        aws::Error::Credentials { .. } => vec![
            "log in (`aws sso login`), or set AWS_PROFILE or AWS_ACCESS_KEY_ID".to_owned(),
            "to work without an account, run `cargo xtask sandbox start` and add `--sandbox`".to_owned(),
        ],
        aws::Error::Blocked { blockers, .. } => blockers
            .iter()
            .map(|one| format!("`{}` removes {} {}; look at it first", one.command, one.kind, one.id))
            .collect(),
        aws::Error::Foreign { what: "secret", name } => vec![
            "leave `secret_prefix` and `master_secret` out of the stack file, or write names there that nobody else has"
                .to_owned(),
            format!("if `{name}` is this stack's and lacks its tag, `cargo xtask adopt --from FILE` gives it back"),
        ],
        aws::Error::Protected { .. } => {
            vec!["run `cargo xtask down --unprotect` if its data may go".to_owned()]
        }
        aws::Error::NotReachable { findings, .. } => {
            findings.iter().map(|finding| format!("{} ({})", finding.command, finding.evidence)).collect()
        }
        aws::Error::Service { service, operation, code, .. } => {
            hints_of_code(service, operation, code)
        }
        aws::Error::NoAnswer { .. } => hints_of_silence(),
        aws::Error::LockLost { .. } => {
            vec!["run the same command again: it waits for the other run, and does what is left".to_owned()]
        }
        aws::Error::LockGone => {
            vec!["run the same command again: it looks at what there is, and does what is left".to_owned()]
        }
        _ => Vec::new(),
    }
}
