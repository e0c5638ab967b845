//! LocalStack behind the gateway: its first calls, and what its own log tells of the requests that it answered, to be held
//! against the gateway's count.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hyper::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::gateway::{Key, Side, Unsigned, UpstreamCall};

/// The first call of a service reads all of it.
const ANSWER_LIMIT: Duration = Duration::from_secs(120);

/// One call of each service that changes nothing: whom it is signed for, its target if it speaks JSON, and its body.
const FIRST_CALLS: [(&str, Option<&str>, &str); 10] = [
    ("sts", None, "Action=GetCallerIdentity&Version=2011-06-15"),
    ("iam", None, "Action=ListRoles&Version=2010-05-08"),
    ("kms", Some("TrentService.ListKeys"), "{}"),
    ("ec2", None, "Action=DescribeVpcs&Version=2016-11-15"),
    ("secretsmanager", Some("secretsmanager.ListSecrets"), "{}"),
    ("ssm", Some("AmazonSSM.DescribeParameters"), "{}"),
    ("sns", None, "Action=ListTopics&Version=2010-03-31"),
    ("monitoring", Some("GraniteServiceVersion20100801.DescribeAlarms"), "{}"),
    ("logs", Some("Logs_20140328.DescribeLogGroups"), "{}"),
    ("rds", None, "Action=DescribeDBInstances&Version=2014-10-31"),
];

/// Calls each service once, one after the other, by the gateway at that address with that key.
///
/// LocalStack reads a service's code at its first call. Where first calls of several come at the same moment, they lock each
/// other out, and one is answered with a 500: `deadlock detected by _ModuleLock('moto.iam.models')`.
///
/// # Errors
/// A call is not answered. What the answer says is not looked at: not every LocalStack has every service.
pub async fn warm(gateway: SocketAddr, key: &Key) -> io::Result<()> {
    for (service, target, body) in FIRST_CALLS {
        tokio::time::timeout(ANSWER_LIMIT, call(gateway, key, service, target, body)).await.map_err(
            |_| {
                io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("the first call of `{service}` has no answer"),
                )
            },
        )??;
    }
    Ok(())
}

async fn call(
    gateway: SocketAddr,
    key: &Key,
    service: &str,
    target: Option<&str>,
    body: &str,
) -> io::Result<()> {
    let mut headers: Vec<(&str, &str)> = target.map(|target| ("x-amz-target", target)).into_iter().collect();
    headers.push(match target {
        Some(_) => ("content-type", "application/x-amz-json-1.1"),
        None => ("content-type", "application/x-www-form-urlencoded"),
    });
    let host = gateway.to_string();
    let signed = key.sign(&Unsigned {
        method: Method::POST,
        host: &host,
        path: "/",
        service,
        region: "us-east-1",
        headers: &headers,
        body: body.as_bytes(),
    });
    let all = headers.into_iter().chain(signed.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let all: String = all.map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request = format!(
        "POST / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {}\r\n{all}\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(gateway).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    if answer.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

/// Returns the AWS requests that a log of LocalStack tells of, in the order of the answers.
///
/// Requests that LocalStack makes to itself have a logger of their own and are left out, as is what is not AWS's: the
/// health check, and requests whose operation it did not recognise.
pub fn upstream_calls(log: &str) -> Vec<UpstreamCall> {
    log.lines().filter_map(parse).collect()
}

/// Reads `.. localstack.request.aws     : AWS ec2.RunInstances => 200` and `.. => 400 (InvalidVpcID.NotFound)`.
fn parse(line: &str) -> Option<UpstreamCall> {
    let (head, call) = line.split_once(" : AWS ")?;
    let logger = head.split_whitespace().next_back()?;
    let (name, answer) = call.split_once(" => ")?;
    let (service, operation) = name.split_once('.')?;
    if logger != "localstack.request.aws" {
        return None;
    }
    Some(UpstreamCall {
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

    #[tokio::test]
    async fn the_first_calls_of_the_services_come_one_after_the_other() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let warming = tokio::spawn(async move { warm(address, &Key::random()).await });
        let mut called = Vec::new();
        for _ in FIRST_CALLS {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            called
                .push(request.split("/aws4_request").next().unwrap().rsplit('/').next().unwrap().to_owned());
            // The next one waits for this answer.
            let next = tokio::time::timeout(Duration::from_millis(20), listener.accept()).await;
            assert!(next.is_err(), "a call comes beside that of {called:?}");
            stream.write_all(b"HTTP/1.1 501 Not Implemented\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        }
        warming.await.unwrap().unwrap();
        called.sort();
        let mut services = FIRST_CALLS.map(|(service, ..)| service);
        services.sort_unstable();
        assert_eq!(called, services);
    }

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
        let told: Vec<_> =
            upstream_calls(LOG).into_iter().map(|p| (p.service, p.operation, p.status)).collect();
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
