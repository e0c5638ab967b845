//! What LocalStack's own log tells of the requests that it answered, to be held against the gateway's count.

use crate::gateway::{Passed, Side};

/// Returns the AWS requests that a log of LocalStack tells of, in the order of the answers.
///
/// Requests that LocalStack makes to itself have a logger of their own and are left out, as is what is not AWS's: the
/// health check, and requests whose operation it did not recognise.
pub fn passed(log: &str) -> Vec<Passed> {
    log.lines().filter_map(parse).collect()
}

/// Reads `.. localstack.request.aws     : AWS ec2.RunInstances => 200` and `.. => 400 (InvalidVpcID.NotFound)`.
fn parse(line: &str) -> Option<Passed> {
    let (head, call) = line.split_once(" : AWS ")?;
    let logger = head.split_whitespace().next_back()?;
    let (name, answer) = call.split_once(" => ")?;
    let (service, operation) = name.split_once('.')?;
    if logger != "localstack.request.aws" {
        return None;
    }
    Some(Passed {
        side: Side::Others,
        service: signing_name(service).to_owned(),
        operation: operation.to_owned(),
        status: answer.split_whitespace().next()?.parse().ok()?,
    })
}

/// Returns the name that requests are signed for, which is the one that the gateway counts by.
fn signing_name(service: &str) -> &str {
    match service {
        "cloudwatch" => "monitoring",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of LocalStack 4.14.0.
    const LOG: &str = "\
LocalStack version: 4.14.0
Ready.
2026-11-24T23:20:35.665  INFO --- [   asgi_gw_2] localstack.request.aws     : AWS iam.ListRoles => 200
2026-11-24T23:20:20.735  INFO --- [  asgi_gw_13] localstack.request.aws     : AWS secretsmanager.CreateSecret => 400 (InvalidRequestException)
2026-11-24T23:20:44.267  WARN --- [   asgi_gw_1] l.aws.handlers.internal    : Unable to find resource handler for path: /_localstack/state/reset
2026-11-24T23:21:35.101  INFO --- [   asgi_gw_7] localstack.request.http    : POST / => 500
2026-11-24T23:21:35.200  INFO --- [   asgi_gw_7] l.request.internal.aws     : AWS sts.AssumeRole => 200
2026-11-24T23:21:34.882  INFO --- [   asgi_gw_2] localstack.aws.skeleton    : The describe_sessions action has not been implemented
2026-11-24T23:21:34.891  INFO --- [   asgi_gw_2] localstack.request.aws     : AWS ssm.DescribeSessions => 501 (InternalFailure)
2026-11-24T23:21:36.109  INFO --- [   asgi_gw_3] localstack.request.aws     : AWS cloudwatch.DescribeAlarms => 200
";

    #[test]
    fn the_log_tells_service_operation_and_status_of_every_request() {
        let told: Vec<_> = passed(LOG).into_iter().map(|p| (p.service, p.operation, p.status)).collect();
        let wanted = [
            ("iam", "ListRoles", 200),
            ("secretsmanager", "CreateSecret", 400),
            ("ssm", "DescribeSessions", 501),
            ("monitoring", "DescribeAlarms", 200),
        ];
        assert_eq!(
            told,
            wanted.map(|(service, operation, status)| (service.into(), operation.into(), status))
        );
    }
}
