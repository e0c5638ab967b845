//! What goes wrong with AWS, and how the SDK's errors become ours.

mod meaning;

use std::error::Error as StdError;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::RequestId;
use stack::finding::Finding;
use stack::receipt::Blocker;

pub use self::meaning::Kind;

type Source = Box<dyn StdError + Send + Sync>;

/// What went wrong with AWS.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The service answered, and the answer was no.
    #[error("{service} refused `{operation}`: {message} ({code}{})", .request_id.as_deref().map_or_else(String::new, |id| format!(", request {id}")))]
    Service {
        /// The service's short name: `ec2`.
        service: &'static str,
        /// The operation: `CreateVpc`.
        operation: &'static str,
        /// The HTTP status.
        status: u16,
        /// AWS's own word for the error: `UnauthorizedOperation`, or `HTTP 500` where it has none.
        code: String,
        /// AWS's own sentence.
        message: String,
        /// What AWS's support asks for.
        request_id: Option<String>,
    },
    /// No answer came: no connection, a timeout, or nonsense. The work may have been done.
    #[error("no answer from {service} to `{operation}`")]
    NoAnswer {
        /// The service's short name.
        service: &'static str,
        /// The operation.
        operation: &'static str,
        /// Why.
        #[source]
        source: Source,
    },
    /// There are no credentials, or they could not be refreshed.
    #[error("no usable AWS credentials")]
    Credentials {
        /// Why.
        #[source]
        source: Source,
    },
    /// The answer lacks something that it always has.
    #[error("the answer of {service} to `{operation}` has no {field}")]
    Incomplete {
        /// The service's short name.
        service: &'static str,
        /// The operation.
        operation: &'static str,
        /// What is not there.
        field: &'static str,
    },
    /// A step needs something that does not exist.
    #[error("there is no {what} to work with")]
    Missing {
        /// What does not exist.
        what: String,
    },
    /// A name of the stack is taken by something that does not carry the stack's tag.
    #[error("{what} `{name}` exists already and does not belong to this stack")]
    Foreign {
        /// What kind of thing it is.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The database refuses to be deleted, as the stack asks of it.
    #[error("database `{identifier}` is protected from deletion")]
    Protected {
        /// The DB instance identifier.
        identifier: String,
    },
    /// Something else still uses what is to be deleted.
    #[error("{subject} is still in use by {}", rendered(.blockers))]
    Blocked {
        /// What is to be deleted.
        subject: String,
        /// What holds it, and what to type.
        blockers: Vec<Blocker>,
        /// AWS's last refusal.
        #[source]
        source: Box<Error>,
    },
    /// Something else still uses what is to be deleted, and what it is cannot be listed.
    #[error("{subject} is still in use; what holds it could not be listed: {unseen}")]
    Unlisted {
        /// What is to be deleted.
        subject: String,
        /// Why the list failed.
        unseen: Box<Error>,
        /// AWS's last refusal.
        #[source]
        source: Box<Error>,
    },
    /// A resource is in a state that it does not leave by itself.
    #[error("{subject} is {status}")]
    Failed {
        /// What failed.
        subject: String,
        /// The state in the service's own words, with its reason where there is one.
        status: String,
    },
    /// Waiting took longer than allowed.
    #[error("{subject} is still {status} after {}", seconds(.waited))]
    TimedOut {
        /// What was waited for.
        subject: String,
        /// The last state seen.
        status: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// Session Manager cannot reach the bastion.
    #[error("Session Manager cannot reach bastion `{instance}`: {}", cause(.findings, .last_status, .waited))]
    NotReachable {
        /// The instance.
        instance: String,
        /// The last state seen.
        last_status: String,
        /// Why, the root cause first; empty if nothing wrong was found.
        findings: Vec<Finding>,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The value of a secret is not what we write.
    #[error("secret `{name}` {problem}")]
    Secret {
        /// The secret's name.
        name: String,
        /// What is wrong, without the value.
        problem: &'static str,
    },
    /// The address of a session cannot be signed.
    #[error("cannot sign the session's address")]
    Signing {
        /// Why.
        #[source]
        source: Source,
    },
    /// Another run took this one for dead, and changes the stack now.
    #[error("{to} took the stack's lock from this run, which had shown no life for a minute")]
    LockLost {
        /// Who has it now.
        to: String,
    },
    /// This run's lock is not there any more, and whoever took it away has left none: another run that is done already, or
    /// somebody who has emptied the account.
    #[error("the stack's lock of this run is gone, so that another run may change the stack")]
    LockGone,
    /// The user asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// Turns an error of the SDK into ours.
pub(crate) fn failed<E>(
    service: &'static str,
    operation: &'static str,
) -> impl FnOnce(SdkError<E>) -> Error + Copy
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    move |error| {
        let answered = matches!(error, SdkError::ServiceError(_));
        let status = error.raw_response().map_or(0, |response| response.status().as_u16());
        if !answered {
            return unanswered(service, operation, error.into());
        }
        Error::Service {
            service,
            operation,
            status,
            code: error.code().map_or_else(|| format!("HTTP {status}"), str::to_owned),
            message: error.message().unwrap_or("no reason given").trim_end_matches('.').to_owned(),
            request_id: error.request_id().map(str::to_owned),
        }
    }
}

fn unanswered(service: &'static str, operation: &'static str, source: Source) -> Error {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(source.as_ref());
    while let Some(error) = cause {
        if error.is::<CredentialsError>() {
            return Error::Credentials { source: one_line(error).into() };
        }
        cause = error.source();
    }
    Error::NoAnswer { service, operation, source }
}

/// Returns the error with its causes in one line: above it stands only `dispatch failure`, and it lists the providers
/// that were tried in lines of their own.
pub(crate) fn one_line(error: &(dyn StdError + 'static)) -> String {
    let mut parts = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        parts.push(error.to_string());
        cause = error.source();
    }
    parts.dedup();
    parts.join(": ").lines().map(str::trim).collect::<Vec<_>>().join("; ").replace(":;", ":")
}

/// Turns the error that says that something does not exist into `None`.
pub(crate) fn absent_is_none<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_gone() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the error and its causes in one line.
pub(crate) fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn rendered(blockers: &[Blocker]) -> String {
    blockers.iter().map(Blocker::render).collect::<Vec<_>>().join(", ")
}

fn seconds(time: &Duration) -> String {
    format!("{} s", time.as_secs())
}

fn cause(findings: &[Finding], last_status: &str, waited: &Duration) -> String {
    match findings.first() {
        Some(finding) => finding.sentence.clone(),
        None => format!("{last_status} after {}", seconds(waited)),
    }
}
