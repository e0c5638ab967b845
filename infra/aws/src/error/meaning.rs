//! What an error means: for exit codes, and for whoever tries again.

use super::Error;

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
            | Error::Unlisted { .. }
            | Error::Failed { .. }
            | Error::TimedOut { .. }
            | Error::NotReachable { .. } => Kind::Refused,
            Error::Foreign { .. } | Error::Protected { .. } => Kind::Usage,
            Error::Interrupted => Kind::Interrupted,
            Error::LockLost { .. } | Error::LockGone => Kind::Refused,
            Error::Incomplete { .. }
            | Error::Missing { .. }
            | Error::Secret { .. }
            | Error::Signing { .. } => Kind::Other,
        }
    }

    /// Returns the call that it is about, as IAM spells it: `ec2:CreateVpc`.
    pub(crate) fn call(&self) -> Option<String> {
        if let Error::Service { service, operation, .. }
        | Error::NoAnswer { service, operation, .. }
        | Error::Incomplete { service, operation, .. } = self
        {
            return Some(format!("{service}:{operation}"));
        }
        None
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
            | Error::Unlisted { .. }
            | Error::Failed { .. }
            | Error::TimedOut { .. }
            | Error::NotReachable { .. }
            | Error::Secret { .. }
            | Error::Signing { .. }
            | Error::LockLost { .. }
            | Error::LockGone
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
