use std::error::Error as StdError;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::RequestId;
use stack::finding::Finding;

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
    #[error("{subject} is still in use by {}", .blockers.join(", "))]
    Blocked {
        /// What is to be deleted.
        subject: String,
        /// What holds it, with ids.
        blockers: Vec<String>,
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
    /// The user asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// What kind of failure it is, for exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Something must be said differently: an option, a name that is taken.
    Usage,
    /// Credentials are absent, expired or not sufficient.
    Credentials,
    /// AWS refused, or did not come to an end in time.
    Refused,
    /// The user asked to stop.
    Interrupted,
    /// Anything else.
    Other,
}

impl Error {
    /// Returns what kind of failure this is.
    pub fn kind(&self) -> Kind {
        match self {
            Error::Service { code, .. } if DENIED.contains(&code.as_str()) => Kind::Credentials,
            Error::Credentials { .. } => Kind::Credentials,
            Error::Service { .. }
            | Error::NoAnswer { .. }
            | Error::Blocked { .. }
            | Error::Failed { .. }
            | Error::TimedOut { .. }
            | Error::NotReachable { .. } => Kind::Refused,
            Error::Foreign { .. } | Error::Protected { .. } => Kind::Usage,
            Error::Interrupted => Kind::Interrupted,
            Error::Incomplete { .. }
            | Error::Missing { .. }
            | Error::Secret { .. }
            | Error::Signing { .. } => Kind::Other,
        }
    }

    /// Returns AWS's own word for the error, if AWS answered.
    pub fn code(&self) -> Option<&str> {
        if let Error::Service { code, .. } = self { Some(code) } else { None }
    }

    /// Tells whether AWS says that the thing does not exist.
    pub(crate) fn is_gone(&self) -> bool {
        self.code().is_some_and(|code| {
            code.ends_with("NotFound")
                || code.ends_with("NotFoundFault")
                || code.ends_with("NotFoundException")
                || matches!(code, "NoSuchEntity" | "NoSuchEntityException" | "DoesNotExistException")
                || code == "Gateway.NotAttached"
        })
    }

    /// Tells whether AWS says that the thing exists already.
    pub(crate) fn is_duplicate(&self) -> bool {
        self.code().is_some_and(|code| {
            code.contains("AlreadyExists")
                || code.ends_with(".Duplicate")
                || matches!(
                    code,
                    "InvalidSubnet.Conflict" | "Resource.AlreadyAssociated" | "ResourceExistsException"
                )
        })
    }

    /// Tells whether AWS refuses because something else still uses the thing, or it is in the middle of a change.
    pub(crate) fn is_conflict(&self) -> bool {
        self.code().is_some_and(|code| {
            matches!(
                code,
                "DependencyViolation" | "DeleteConflict" | "DeleteConflictException" | "InvalidGroup.InUse"
            ) || code.starts_with("ConcurrentModification")
                || code.starts_with("InvalidDBSubnetGroupState")
                || code.starts_with("InvalidDBInstanceState")
        })
    }

    /// Tells whether the work may have been done although it looks like a failure.
    pub(crate) fn is_ambiguous(&self) -> bool {
        match self {
            Error::NoAnswer { .. } => true,
            Error::Service { status, .. } => *status >= 500,
            Error::Credentials { .. }
            | Error::Incomplete { .. }
            | Error::Missing { .. }
            | Error::Foreign { .. }
            | Error::Protected { .. }
            | Error::Blocked { .. }
            | Error::Failed { .. }
            | Error::TimedOut { .. }
            | Error::NotReachable { .. }
            | Error::Secret { .. }
            | Error::Signing { .. }
            | Error::Interrupted => false,
        }
    }

    /// Tells whether AWS asks to slow down.
    pub(crate) fn is_throttle(&self) -> bool {
        self.code().is_some_and(|code| {
            code.contains("Throttl")
                || matches!(code, "RequestLimitExceeded" | "TooManyRequestsException" | "SlowDown")
        })
    }
}

const DENIED: [&str; 19] = [
    "AccessDenied",
    "AccessDeniedException",
    "AccessDeniedFault",
    "AuthFailure",
    "Blocked",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "InvalidToken",
    "MissingAuthenticationToken",
    "NotAuthorized",
    "OptInRequired",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnauthorizedOperation",
    "UnrecognizedClientException",
];

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

fn seconds(time: &Duration) -> String {
    format!("{} s", time.as_secs())
}

fn cause(findings: &[Finding], last_status: &str, waited: &Duration) -> String {
    match findings.first() {
        Some(finding) => finding.sentence.clone(),
        None => format!("{last_status} after {}", seconds(waited)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(status: u16, code: &str) -> Error {
        Error::Service {
            service: "ec2",
            operation: "CreateVpc",
            status,
            code: code.to_owned(),
            message: "no".to_owned(),
            request_id: Some("r-1".to_owned()),
        }
    }

    #[test]
    fn the_message_names_service_operation_code_and_request() {
        let text = service(400, "VpcLimitExceeded").to_string();
        assert_eq!(text, "ec2 refused `CreateVpc`: no (VpcLimitExceeded, request r-1)");
    }

    #[test]
    fn denied_calls_are_a_matter_of_credentials() {
        assert_eq!(service(403, "UnauthorizedOperation").kind(), Kind::Credentials);
        assert_eq!(service(400, "VpcLimitExceeded").kind(), Kind::Refused);
        assert_eq!(Error::Protected { identifier: "db".into() }.kind(), Kind::Usage);
    }

    #[test]
    fn each_service_has_its_own_word_for_gone() {
        let words = [
            "InvalidVpcID.NotFound",
            "NoSuchEntity",
            "DBInstanceNotFound",
            "DBSubnetGroupNotFoundFault",
            "ResourceNotFoundException",
            "DoesNotExistException",
        ];
        for word in words {
            assert!(service(400, word).is_gone(), "{word}");
            assert!(!service(400, word).is_duplicate(), "{word}");
        }
    }

    #[test]
    fn each_service_has_its_own_word_for_being_there_already() {
        let words = [
            "EntityAlreadyExists",
            "InvalidGroup.Duplicate",
            "DBInstanceAlreadyExists",
            "DBSubnetGroupAlreadyExists",
            "ResourceExistsException",
            "Resource.AlreadyAssociated",
            "RouteAlreadyExists",
            "InvalidPermission.Duplicate",
        ];
        for word in words {
            assert!(service(400, word).is_duplicate(), "{word}");
            assert!(!service(400, word).is_gone(), "{word}");
        }
    }

    #[test]
    fn only_a_missing_answer_and_a_fault_of_the_service_leave_it_open_what_was_done() {
        let source = "reset".into();
        assert!(Error::NoAnswer { service: "ec2", operation: "CreateVpc", source }.is_ambiguous());
        assert!(service(500, "InternalError").is_ambiguous());
        assert!(!service(400, "VpcLimitExceeded").is_ambiguous());
        assert!(service(503, "RequestLimitExceeded").is_throttle());
        assert!(service(400, "ThrottlingException").is_throttle());
    }
}
