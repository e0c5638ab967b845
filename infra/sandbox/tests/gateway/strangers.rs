//! Who has no key, who comes with the name of another host, and what a page in a browser can send: nothing changes for any.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request};
use sandbox::gateway::{Emulator, Fault, FaultKind, Gateway, Key, NoDatabases, Options, Password, Upstreams};
use serde_json::{Value, json};

use crate::client::{Answer, Client, signed_upgrade};
use crate::fixture::{Cloud, Echo, gateway_over};
use crate::stub::Stub;

/// Sends a request with those headers and no more.
async fn send(gateway: &Gateway, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut request = Request::builder().method(method).uri(format!("{}{path}", gateway.endpoint()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::from(Bytes::from(body.to_owned()))).unwrap();
    Client::new(gateway).send(request).await.unwrap()
}

/// A gateway in front of a program that keeps what reaches it, with a fault that waits for the next call.
async fn watched() -> (Gateway, Stub) {
    let stub = Stub::start().await;
    let gateway = gateway_over(stub.address).await;
    gateway.inject(Fault { service: None, operation: None, nth: 1, kind: FaultKind::Throttle });
    (gateway, stub)
}

/// Checks that nothing was done, noted or counted, and that the one who has the key is still answered.
async fn expect_nothing(gateway: &Gateway, stub: &Stub) {
    assert!(stub.seen().is_empty(), "{:?}", stub.seen());
    assert!(gateway.journal().is_empty(), "{:?}", gateway.journal());
    let client = Client::new(gateway);
    let waiting = client.control(Method::GET, "faults", &Value::Null).await.json();
    assert_eq!(waiting.as_array().map(Vec::len), Some(1), "{waiting}");
    let denials = client.control(Method::GET, "denials", &Value::Null).await.json();
    assert_eq!(denials, json!([]));
}

const TO_SIGN: &str = "Credential=ID/20260101/us-east-1/ssm/aws4_request, SignedHeaders=host, Signature=0";

#[tokio::test]
async fn who_does_not_have_the_key_is_not_answered() {
    let (gateway, stub) = watched().await;
    let start = ("x-amz-target", "AmazonSSM.StartSession");
    let command = json!({ "Target": "i-1", "DocumentName": "AWS-StartNonInteractiveCommand",
        "Parameters": { "command": ["touch /tmp/owned"] } })
    .to_string();
    // What the sandbox took from anybody: no signature, one of another's, one that is none.
    let form = "Action=GetCallerIdentity&Version=2011-06-15";
    let unsigned = send(&gateway, Method::POST, "/", &[], form).await;
    assert_eq!((unsigned.status, unsigned.code().as_str()), (403, "MissingAuthenticationToken"));
    let unsigned = send(&gateway, Method::POST, "/", &[start], &command).await;
    assert_eq!((unsigned.status, unsigned.code().as_str()), (403, "MissingAuthenticationTokenException"));
    for id in ["nobody", "sandbox", gateway.key().id()] {
        let header = format!("AWS4-HMAC-SHA256 {}", TO_SIGN.replace("ID", id));
        let refused = send(&gateway, Method::POST, "/", &[start, ("authorization", &header)], &command).await;
        let wanted = if id == gateway.key().id() {
            "InvalidSignatureException"
        } else {
            "UnrecognizedClientException"
        };
        assert_eq!((refused.status, refused.code().as_str()), (400, wanted), "{id}");
    }
    let guessed = Key::new(gateway.key().id(), Password::new("sandbox"));
    for key in [Key::random(), guessed] {
        let other = Client::with_key(gateway.address(), key);
        for (service, status) in [("ec2", [401, 403]), ("rds", [403, 403]), ("drawbridge", [403, 403])] {
            let refused = other.query(service, "DescribeAnything", &[]).await;
            assert!(status.contains(&refused.status), "{service}: {refused:?}");
        }
        for (method, name) in [(Method::GET, "journal"), (Method::POST, "reset"), (Method::DELETE, "faults")]
        {
            let refused = other.control(method, name, &Value::Null).await;
            assert!(refused.status >= 400, "{name}: {refused:?}");
        }
    }
    for path in ["/moto-api/reset", "/_drawbridge/reset", "/_drawbridge/disconnect", "/"] {
        assert_eq!(send(&gateway, Method::POST, path, &[], "").await.status, 403, "{path}");
        assert_eq!(send(&gateway, Method::GET, path, &[], "").await.status, 403, "{path}");
    }
    expect_nothing(&gateway, &stub).await;
}

#[tokio::test]
async fn a_request_that_is_changed_on_its_way_or_comes_late_is_refused() {
    let (gateway, stub) = watched().await;
    let client = Client::new(&gateway);
    let headers = [("x-amz-target", "AmazonSSM.DescribeSessions")];
    let signed = || client.signed(Method::POST, "/", "ssm", &headers, r#"{"State":"Active"}"#);
    let refused = async |request| {
        let answer = client.send(request).await.unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (400, "InvalidSignatureException"));
    };
    let mut body = signed();
    *body.body_mut() = Full::from(r#"{"State":"History"}"#);
    refused(body).await;
    let mut target = signed();
    target.headers_mut().insert("x-amz-target", "AmazonSSM.StartSession".parse().unwrap());
    refused(target).await;
    let mut path = signed();
    *path.uri_mut() = format!("{}/other", gateway.endpoint()).parse().unwrap();
    refused(path).await;
    expect_nothing(&gateway, &stub).await;

    let upstreams = Upstreams::one(Emulator::Moto(stub.address));
    let mut options = Options::new(upstreams, Arc::new(Echo), Arc::new(NoDatabases));
    options.clock_ahead = jiff::SignedDuration::from_mins(6);
    let late = Gateway::start(options).await.unwrap();
    let client = Client::new(&late);
    let answer = client.send(client.signed(Method::POST, "/", "ssm", &headers, "{}")).await.unwrap();
    assert!(answer.body.contains("Signature expired"), "{answer:?}");
    assert!(stub.seen().is_empty());
}

/// What a page may post without asking: the types of forms, and no header of its own.
const SIMPLE_TYPES: [&str; 3] = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"];

#[tokio::test]
async fn a_page_of_another_origin_changes_nothing() {
    let (gateway, stub) = watched().await;
    let from_page = [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")];
    let deny = r#"{"service":"ssm","operation":"StartSession"}"#;
    for kind in SIMPLE_TYPES {
        for (path, body) in [
            ("/_drawbridge/reset", ""),
            ("/_drawbridge/denials", deny),
            ("/_drawbridge/disconnect", ""),
            ("/moto-api/reset", ""),
            ("/", "Action=DeleteVpc&Version=2016-11-15&VpcId=vpc-1"),
        ] {
            let headers = [&from_page[..], &[("content-type", kind)]].concat();
            assert_eq!(send(&gateway, Method::POST, path, &headers, body).await.status, 403, "{path}");
            // A page without an origin, in a sandboxed frame or of a file, says `null`.
            let headers = [("content-type", kind), ("origin", "null")];
            assert_eq!(send(&gateway, Method::POST, path, &headers, body).await.status, 403, "{path}");
        }
    }
    // An image or a script is loaded without an origin.
    let image = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")];
    assert_eq!(send(&gateway, Method::GET, "/_drawbridge/health", &image, "").await.status, 403);
    let asks = [from_page[0], ("access-control-request-method", "POST")];
    let asks =
        [&asks[..], &[("access-control-request-headers", "authorization,x-drawbridge-control")]].concat();
    assert_eq!(send(&gateway, Method::OPTIONS, "/_drawbridge/reset", &asks, "").await.status, 403);

    // Not even with the key: no page is to have it, and none is answered if it has.
    let client = Client::new(&gateway);
    let control = [("x-drawbridge-control", "1")];
    let mut signed = client.signed(Method::POST, "/_drawbridge/reset", "drawbridge", &control, "");
    signed.headers_mut().insert("origin", "https://evil.example".parse().unwrap());
    assert_eq!(client.send(signed).await.unwrap().status, 403);
    expect_nothing(&gateway, &stub).await;
}

#[tokio::test]
async fn a_page_whose_name_leads_here_is_not_answered_either() {
    let (gateway, stub) = watched().await;
    let port = gateway.address().port();
    let named = format!("rebound.evil.example:{port}");
    let client = Client::new(&gateway);
    for host in [named.as_str(), "evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example", ""] {
        let answer = send(&gateway, Method::POST, "/_drawbridge/reset", &[("host", host)], "").await;
        assert_eq!(answer.status, 421, "{host}");
        assert!(!answer.body.contains("evil"), "{answer:?}");
        let mut signed = client.signed(Method::GET, "/_drawbridge/faults", "drawbridge", &[], "");
        signed.headers_mut().insert("host", host.parse().unwrap());
        assert_eq!(client.send(signed).await.unwrap().status, 421, "{host}");
    }
    for place in ["/v1/data-channel/s-1", "/_drawbridge/agents/i-1"] {
        let upgrade = [("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-key", "eA==")];
        let from_page = [&upgrade[..], &[("origin", "https://evil.example")]].concat();
        assert_eq!(send(&gateway, Method::GET, place, &from_page, "").await.status, 403, "{place}");
        let rebound = [&upgrade[..], &[("host", named.as_str())]].concat();
        assert_eq!(send(&gateway, Method::GET, place, &rebound, "").await.status, 421, "{place}");
    }
    expect_nothing(&gateway, &stub).await;
}

#[tokio::test]
async fn it_is_called_by_its_addresses_by_localhost_and_by_the_names_that_it_is_given() {
    let stub = Stub::start().await;
    let upstreams = Upstreams::one(Emulator::Moto(stub.address));
    let mut options = Options::new(upstreams, Arc::new(Echo), Arc::new(NoDatabases));
    options.hosts = vec!["gateway.internal".to_owned()];
    options.listen = vec!["127.0.0.1:0".parse().unwrap()];
    let gateway = Gateway::start(options).await.unwrap();
    let (first, second) = (gateway.address().port(), gateway.also_at()[0].port());
    for port in [first, second] {
        for name in ["127.0.0.1", "localhost", "LOCALHOST", "gateway.internal"] {
            // Unsigned: refused for that, and no more for its name.
            let answer = send(&gateway, Method::GET, "/", &[("host", &format!("{name}:{port}"))], "").await;
            assert_eq!(answer.status, 403, "{name}:{port}");
        }
    }
}

#[tokio::test]
async fn the_control_endpoints_want_their_header_and_a_signature_for_them() {
    let (gateway, stub) = watched().await;
    let client = Client::new(&gateway);
    let (path, control) = ("/_drawbridge/reset", [("x-drawbridge-control", "1")]);
    let without = client.signed(Method::POST, path, "drawbridge", &[], "");
    let elsewhere = client.signed(Method::POST, path, "ssm", &control, "");
    let mut unsigned = client.signed(Method::POST, path, "drawbridge", &[], "");
    unsigned.headers_mut().insert("x-drawbridge-control", "1".parse().unwrap());
    for request in [without, elsewhere, unsigned] {
        let answer = client.send(request).await.unwrap();
        assert_eq!(answer.status, 403, "{answer:?}");
        assert!(answer.body.contains("x-drawbridge-control: 1"), "{answer:?}");
    }
    expect_nothing(&gateway, &stub).await;
}

#[tokio::test]
async fn a_data_channel_is_opened_with_the_gateway_s_key_and_the_session_s_token() {
    let cloud = Cloud::start(|_| ()).await;
    let url = format!("ws://{}/v1/data-channel/s-1?role=publish_subscribe", cloud.gateway.address());
    let status = async |key: &Key, signed_for: &str| {
        let headers = signed_upgrade(key, signed_for);
        let mut headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        headers.extend([("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-key", "eA==")]);
        let path = "/v1/data-channel/s-1?role=publish_subscribe";
        send(&cloud.gateway, Method::GET, path, &headers, "").await.status
    };
    assert_eq!(status(cloud.gateway.key(), &url).await, 101);
    assert_eq!(status(cloud.gateway.key(), &url.replace("s-1", "s-2")).await, 403);
    assert_eq!(status(&Key::random(), &url).await, 403);
    let guessed = Key::new(cloud.gateway.key().id(), Password::new("guessed"));
    assert_eq!(status(&guessed, &url).await, 403);
}

#[tokio::test]
async fn who_is_given_credentials_signs_with_them_until_the_account_is_emptied() {
    let cloud = Cloud::start(|_| ()).await;
    let params = [("RoleArn", "arn:aws:iam::123456789012:role/any"), ("RoleSessionName", "test")];
    let given = cloud.client.ok("sts", "AssumeRole", &params).await;
    let key = Key::new(given.get("AccessKeyId"), Password::new(given.get("SecretAccessKey")));
    let client = Client::with_key(cloud.gateway.address(), key.clone());
    client.ok("ec2", "DescribeVpcs", &[]).await;
    let guessed = Client::with_key(cloud.gateway.address(), Key::new(key.id(), Password::new("guessed")));
    assert_eq!(guessed.query("ec2", "DescribeVpcs", &[]).await.code(), "SignatureDoesNotMatch");
}
