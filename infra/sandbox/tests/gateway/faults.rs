//! Calls that go wrong on demand.

use hyper::Method;
use sandbox::gateway::{Fault, FaultKind};
use serde_json::{Value, json};

use crate::client::Client;
use crate::fixture::gateway_over;
use crate::stub::Stub;

fn first(kind: FaultKind) -> Fault {
    Fault { service: None, operation: None, nth: 1, kind }
}

#[tokio::test]
async fn throttling_and_failures_come_in_the_words_of_the_service() {
    let stub = Stub::start().await;
    let gateway = gateway_over(stub.address).await;
    let client = Client::new(&gateway);
    let mut told = Vec::new();
    for kind in [FaultKind::Throttle, FaultKind::ServerError, FaultKind::refusal()] {
        for service in ["ec2", "iam", "ssm"] {
            gateway.inject(first(kind.clone()));
            let answer = match service {
                "ssm" => client.json("ssm", "AmazonSSM.GetParameter", &json!({})).await,
                _ => client.query(service, "ListThings", &[]).await,
            };
            told.push(format!("{} {}", answer.status, answer.code()));
        }
    }
    let wanted = [
        "503 RequestLimitExceeded",
        "400 Throttling",
        "400 ThrottlingException",
        "500 InternalFailure",
        "500 InternalFailure",
        "500 InternalFailure",
        "400 InvalidRequest",
        "400 InvalidRequest",
        "400 InvalidRequest",
    ];
    assert_eq!(told, wanted);
    assert!(stub.seen().is_empty(), "a refused call does nothing");
}

#[tokio::test]
async fn a_lost_reply_comes_after_the_work_is_done() {
    let stub = Stub::start().await;
    let gateway = gateway_over(stub.address).await;
    let client = Client::new(&gateway);
    gateway.inject(Fault {
        service: Some("ec2".into()),
        operation: Some("CreateVpc".into()),
        nth: 2,
        kind: FaultKind::LostReply,
    });
    assert!(client.try_query("ec2", "CreateVpc", &[]).await.is_ok());
    assert!(client.try_query("ec2", "CreateVpc", &[]).await.is_err());
    gateway.wait_until_fired().await;
    assert_eq!(stub.seen().len(), 2);
    let call = gateway.journal().remove(1);
    assert_eq!((call.fault, call.status), (Some("lost-reply"), None));
}

#[tokio::test]
async fn a_held_call_does_its_work_and_never_answers() {
    let stub = Stub::start().await;
    let gateway = gateway_over(stub.address).await;
    let client = Client::new(&gateway);
    gateway.inject(first(FaultKind::Hold));
    let call = client.try_query("ec2", "CreateVpc", &[]);
    let mut call = Box::pin(call);
    tokio::select! {
        answer = &mut call => panic!("{answer:?}"),
        () = gateway.wait_until_fired() => (),
    }
    assert_eq!(stub.seen().len(), 1);
    assert!(futures_util::poll!(&mut call).is_pending());
}

#[tokio::test]
async fn a_call_that_times_out_does_nothing() {
    let stub = Stub::start().await;
    let gateway = gateway_over(stub.address).await;
    let client = Client::new(&gateway);
    gateway.inject(first(FaultKind::Timeout));
    let mut call = Box::pin(client.try_query("ec2", "CreateVpc", &[]));
    tokio::select! {
        answer = &mut call => panic!("{answer:?}"),
        () = gateway.wait_until_fired() => (),
    }
    assert!(stub.seen().is_empty());
}

#[tokio::test]
async fn another_process_arms_and_takes_back_faults_over_http() {
    let stub = Stub::start().await;
    let gateway = gateway_over(stub.address).await;
    let client = Client::new(&gateway);
    let fault = json!({ "service": "ec2", "operation": null, "nth": 1, "kind": "throttle" });
    let told = client.control(Method::POST, "faults", &fault).await;
    assert_eq!(told.json(), json!([fault]));
    assert_eq!(client.control(Method::POST, "faults", &json!({ "nth": "x" })).await.status, 400);
    client.control(Method::DELETE, "faults", &Value::Null).await;
    assert_eq!(client.query("ec2", "DescribeVpcs", &[]).await.status, 418);
    gateway.wait_until_fired().await;
}
