//! What is not the gateway's own passes as it is.

use http_body_util::{BodyExt, Full};
use hyper::{Method, Request};
use hyper_util::client::legacy::Client as Http;
use hyper_util::rt::TokioExecutor;
use sandbox::gateway::Upstreams;
use serde_json::{Value, json};

use crate::client::Client;
use crate::fixture::{Cloud, gateway_over, own_moto};
use crate::stub::{ANSWER, Stub};
use crate::support;

#[tokio::test]
async fn a_call_that_is_not_treated_passes_byte_for_byte() {
    let stub = Stub::start().await;
    let gateway = gateway_over(stub.address).await;
    let body = b"Action=GetCallerIdentity&Version=2011-06-15&odd=%7e+\xC3\xBC".as_slice();
    let client = Client::new(&gateway);
    let request = client.signed(Method::POST, "/some/path?x=%20y", "sts", &[("x-custom", "kept")], body);
    let http = Http::builder(TokioExecutor::new()).build_http();
    let response = http.request(request).await.unwrap();

    assert_eq!(response.status(), 418);
    assert_eq!(response.headers()["x-amzn-requestid"], "abc");
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), ANSWER);
    let seen = stub.seen().remove(0);
    assert_eq!((seen.method, seen.path.as_str()), (Method::POST, "/some/path?x=%20y"));
    assert_eq!(seen.headers["x-custom"], "kept");
    assert_eq!(seen.headers["host"], gateway.address().to_string());
    assert_eq!(seen.body, body);
}

#[tokio::test]
async fn a_secret_is_read_at_its_current_stage_unless_a_version_is_named() {
    let stub = Stub::start().await;
    let gateway = gateway_over(stub.address).await;
    let client = Client::new(&gateway);
    client.json("secretsmanager", "secretsmanager.GetSecretValue", &json!({ "SecretId": "s" })).await;
    let pending = json!({ "SecretId": "s", "VersionStage": "AWSPENDING" });
    client.json("secretsmanager", "secretsmanager.GetSecretValue", &pending).await;
    let bodies: Vec<Value> =
        stub.seen().iter().map(|seen| serde_json::from_slice(&seen.body).unwrap()).collect();
    assert_eq!(bodies, [json!({ "SecretId": "s", "VersionStage": "AWSCURRENT" }), pending]);
}

#[tokio::test]
async fn the_journal_names_calls_in_the_order_of_arrival_and_keeps_no_parameters() {
    let stub = Stub::start().await;
    let gateway = gateway_over(stub.address).await;
    let client = Client::new(&gateway);
    client.query("sts", "GetCallerIdentity", &[]).await;
    client.query("rds", "CreateDBParameterGroup", &[("Password", "hunter2hunter2")]).await;
    client.control(Method::GET, "health", &Value::Null).await;

    let journal = gateway.journal();
    let calls: Vec<_> =
        journal.iter().map(|call| (call.number, call.operation.as_str(), call.status)).collect();
    assert_eq!(calls, [(1, "GetCallerIdentity", Some(418)), (2, "CreateDBParameterGroup", Some(418))]);
    assert!(journal.iter().all(|call| call.end_ms >= Some(call.start_ms)));
    let told = client.control(Method::GET, "journal", &Value::Null).await;
    assert_eq!(told.json(), serde_json::to_value(&journal).unwrap());
    assert!(!told.body.contains("hunter2"));
}

#[tokio::test]
async fn an_upgrade_without_a_signature_is_refused() {
    let stub = Stub::start().await;
    let gateway = gateway_over(stub.address).await;
    let request = Request::builder()
        .uri(format!("{}/v1/data-channel/s-1?role=publish_subscribe", gateway.endpoint()))
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("sec-websocket-version", "13")
        .body(Full::default())
        .unwrap();
    let answer = Client::new(&gateway).send(request).await.unwrap();
    assert_eq!(answer.status, 403);
    assert!(gateway.journal().is_empty(), "who is refused changes nothing, and no count of calls");
}

#[tokio::test]
async fn nothing_listens_after_the_gateway_is_stopped() {
    let stub = Stub::start().await;
    let gateway = gateway_over(stub.address).await;
    let address = gateway.address();
    gateway.stop().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn what_moto_remembers_is_asked_again_once_something_may_have_changed() {
    let cloud = Cloud::start(|_| ()).await;
    let vpc = cloud.ec2("CreateVpc", &[("CidrBlock", "10.44.0.0/16")]).await.get("vpcId");
    let tags = async || cloud.ec2("DescribeVpcs", &[("VpcId.1", &vpc)]).await.all("value");
    assert!(tags().await.is_empty());
    for value in ["first", "second"] {
        let tag = [("ResourceId.1", vpc.as_str()), ("Tag.1.Key", "Name"), ("Tag.1.Value", value)];
        cloud.ec2("CreateTags", &tag).await;
        assert_eq!((tags().await, tags().await), (vec![value.to_owned()], vec![value.to_owned()]));
    }
    cloud.ec2("DeleteVpc", &[("VpcId", &vpc)]).await;
    let gone = cloud.client.query("ec2", "DescribeVpcs", &[("VpcId.1", &vpc)]).await;
    assert_eq!(gone.code(), "InvalidVpcID.NotFound");

    let password = async || {
        let target = "secretsmanager.GetRandomPassword";
        cloud.client.json("secretsmanager", target, &json!({})).await.json()["RandomPassword"].to_string()
    };
    assert_ne!(password().await, password().await);
}

#[tokio::test]
async fn what_one_service_changes_in_another_is_asked_again_too() {
    let dir = support::folder();
    let moto = own_moto(dir.path()).await;
    let cloud = Cloud::over(Upstreams::one(moto.emulator()), |_| ()).await;
    let keys = async || {
        let told = cloud.client.json("kms", "TrentService.ListKeys", &json!({})).await.json();
        told["Keys"].as_array().unwrap().len()
    };
    assert_eq!((keys().await, keys().await), (0, 0));
    // It has a key of the account's own.
    let volume = [("AvailabilityZone", "us-east-1a"), ("Size", "8"), ("Encrypted", "true")];
    cloud.ec2("CreateVolume", &volume).await;
    assert_eq!(keys().await, 1);
    moto.stop().await;
}
