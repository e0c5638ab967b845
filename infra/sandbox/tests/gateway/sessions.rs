//! Sessions: refused for a while, then frames both ways, through lost websockets, to an end that is told.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use hyper::header::HeaderName;
use sandbox::gateway::{Disconnect, Upstreams};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::Message as Frame;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tunnel::{ChannelClosed, Message, MessageType};

use crate::client::signed_upgrade;
use crate::fixture::{Cloud, own_moto};
use crate::support;

struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    /// Opens the data channel that an answer of StartSession or ResumeSession names.
    async fn open(cloud: &Cloud, answer: &Value) -> Socket {
        let url = answer["StreamUrl"].as_str().unwrap();
        let mut request = url.into_client_request().unwrap();
        for (name, value) in signed_upgrade(cloud.gateway.key(), url) {
            request.headers_mut().insert(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
        let id = uuid::Uuid::new_v4().to_string();
        let open = json!({ "MessageSchemaVersion": "1.0", "RequestId": id, "TokenValue": answer["TokenValue"],
            "ClientId": id, "ClientVersion": "1.2.764.0" });
        socket.send(Frame::text(open.to_string())).await.unwrap();
        Socket(socket)
    }

    async fn send(&mut self, frame: &'static [u8]) {
        self.0.send(Frame::binary(frame)).await.unwrap();
    }

    async fn next(&mut self) -> Option<Frame> {
        let next = tokio::time::timeout(support::LIMIT, self.0.next()).await;
        next.expect("the session says something").and_then(Result::ok)
    }

    async fn frame(&mut self) -> Bytes {
        match self.next().await {
            Some(Frame::Binary(bytes)) => bytes,
            other => panic!("no frame but {other:?}"),
        }
    }

    /// Returns the code and the reason of the close.
    async fn closed(&mut self) -> (u16, String) {
        match self.next().await {
            Some(Frame::Close(Some(close))) => (close.code.into(), close.reason.to_string()),
            other => panic!("no close but {other:?}"),
        }
    }
}

fn request(target: &str) -> Value {
    json!({ "Target": target, "DocumentName": "AWS-StartPortForwardingSessionToRemoteHost",
        "Parameters": { "host": ["db.internal"], "portNumber": ["5432"], "localPortNumber": ["0"] } })
}

#[tokio::test]
async fn a_session_is_refused_for_a_moment_after_the_agent_is_online() {
    let cloud = Cloud::start(|options| options.session_refusals = 2).await;
    let (_, id) = cloud.bastion().await;
    assert_eq!(cloud.ssm("StartSession", request(&id)).await.code(), "TargetNotConnected");
    assert_eq!(
        cloud.ssm("GetConnectionStatus", json!({ "Target": id })).await.json()["Status"],
        "notconnected"
    );
    assert_eq!(cloud.ssm("GetConnectionStatus", json!({ "Target": id })).await.json()["Status"], "connected");
    assert_eq!(cloud.ssm("StartSession", request(&id)).await.status, 200);
    assert_eq!(cloud.ssm("StartSession", request("i-0")).await.code(), "TargetNotConnected");
}

#[tokio::test]
async fn a_session_outlives_its_websocket_and_its_end_is_told() {
    let cloud = Cloud::start(|_| ()).await;
    let (_, id) = cloud.bastion().await;
    let started = cloud.ssm("StartSession", request(&id)).await.json();
    let session = json!({ "SessionId": started["SessionId"] });

    let mut wrong = started.clone();
    wrong["TokenValue"] = "wrong".into();
    assert_eq!(Socket::open(&cloud, &wrong).await.closed().await.0, 1008);

    let mut first = Socket::open(&cloud, &started).await;
    first.send(b"where").await;
    assert_eq!(first.frame().await, "db.internal:5432");
    let active = cloud.ssm("DescribeSessions", json!({ "State": "Active" })).await.json();
    assert_eq!(active["Sessions"][0]["SessionId"], started["SessionId"]);

    cloud.gateway.disconnect(Disconnect::Closed);
    assert_eq!(first.closed().await, (1000, "Bye".to_owned()));
    let resumed = cloud.ssm("ResumeSession", session.clone()).await.json();
    assert_ne!(resumed["TokenValue"], started["TokenValue"]);
    let mut second = Socket::open(&cloud, &resumed).await;
    second.send(b"still there").await;
    assert_eq!(second.frame().await, "still there");

    second.send(b"end").await;
    assert_eq!(second.frame().await, "last");
    let end = Message::parse(second.frame().await).unwrap();
    assert_eq!(end.message_type, MessageType::ChannelClosed);
    assert_eq!(
        ChannelClosed::parse(&end.payload).unwrap().session_id,
        started["SessionId"].as_str().unwrap()
    );
    assert_eq!(second.closed().await.0, 1000);
    assert_eq!(cloud.ssm("ResumeSession", session).await.json()["TokenValue"], Value::Null);
    let history = cloud.ssm("DescribeSessions", json!({ "State": "History" })).await.json();
    assert_eq!(history["Sessions"][0]["Status"], "Terminated");
}

#[tokio::test]
async fn terminating_a_session_or_its_instance_closes_the_channel() {
    let cloud = Cloud::start(|_| ()).await;
    let (_, id) = cloud.bastion().await;
    for end in ["session", "instance"] {
        let started = cloud.ssm("StartSession", request(&id)).await.json();
        let mut socket = Socket::open(&cloud, &started).await;
        socket.send(b"x").await;
        assert_eq!(socket.frame().await, "x");
        if end == "session" {
            let body = json!({ "SessionId": started["SessionId"] });
            assert_eq!(cloud.ssm("TerminateSession", body).await.status, 200);
        } else {
            cloud.ec2("StopInstances", &[("InstanceId.1", &id)]).await;
        }
        let told = Message::parse(socket.frame().await).unwrap();
        assert_eq!(told.message_type, MessageType::ChannelClosed, "{end}");
    }
    let unknown = json!({ "SessionId": "sandbox-0" });
    assert_eq!(cloud.ssm("ResumeSession", unknown.clone()).await.code(), "DoesNotExistException");
    assert_eq!(cloud.ssm("TerminateSession", unknown).await.code(), "DoesNotExistException");
}

#[tokio::test]
async fn a_ping_is_answered() {
    let cloud = Cloud::start(|_| ()).await;
    let (_, id) = cloud.bastion().await;
    let mut socket = Socket::open(&cloud, &cloud.ssm("StartSession", request(&id)).await.json()).await;
    socket.0.send(Frame::Ping(Bytes::from_static(b"keepalive"))).await.unwrap();
    assert_eq!(socket.next().await, Some(Frame::Pong(Bytes::from_static(b"keepalive"))));
}

/// A ping of 125 bytes, as a client sends it.
fn ping() -> Vec<u8> {
    let mut frame = vec![0x89, 0x80 | 125, 0, 0, 0, 0];
    frame.resize(6 + 125, 7);
    frame
}

#[tokio::test]
async fn who_floods_with_pings_and_reads_nothing_gets_few_answers() {
    // 39 MB. What waits to be read is in the kernel, some ten at the most, and one in the gateway.
    const PINGS: usize = 300_000;
    let cloud = Cloud::start(|_| ()).await;
    let (_, id) = cloud.bastion().await;
    let started = cloud.ssm("StartSession", request(&id)).await.json();
    let mut socket = Socket::open(&cloud, &started).await;
    socket.send(b"before").await;
    assert_eq!(socket.frame().await, "before");
    let MaybeTlsStream::Plain(stream) = socket.0.get_mut() else { panic!("there is no TLS") };
    let pings = ping().repeat(1000);
    for _ in 0..PINGS / 1000 {
        let sent = tokio::time::timeout(support::LIMIT, stream.write_all(&pings)).await;
        // Whoever is thrown out for it has had no more either.
        if sent.expect("the gateway reads").is_err() {
            break;
        }
    }
    let mut answers = 0;
    socket.0.send(Frame::binary(&b"after"[..])).await.ok();
    while let Some(Frame::Pong(_)) = socket.next().await {
        answers += 1;
    }
    assert!(answers < PINGS / 2, "{answers} answers were kept for who did not read them");
}

#[tokio::test]
async fn after_a_reset_nothing_is_left() {
    let dir = support::folder();
    let moto = own_moto(dir.path()).await;
    let cloud = Cloud::over(Upstreams::one(moto.emulator()), |_| ()).await;
    let (site, id) = cloud.bastion().await;
    cloud.ssm("StartSession", request(&id)).await;
    cloud.gateway.reset().await.unwrap();
    assert!(cloud.gateway.journal().is_empty());
    let active = cloud.ssm("DescribeSessions", json!({ "State": "Active" })).await.json();
    assert_eq!(active["Sessions"], json!([]));
    assert!(cloud.instances(&site).await.all("instanceId").is_empty());
    moto.stop().await;
}
