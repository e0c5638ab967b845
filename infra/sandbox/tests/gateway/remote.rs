//! The bastion's agent as a process of its own.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sandbox::gateway::{
    AgentTimeouts, Emulator, Gateway, Key, Machines, NoDatabases, Options, RemoteAgents, Upstreams,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tunnel::{BoxFuture, Control, ControlError, SessionToken, Stream, Token, Tunnel};

use crate::client::{Client, signed_upgrade};
use crate::fixture::{Cloud, until};
use crate::stub::Stub;
use crate::support;

const TIMEOUTS: AgentTimeouts = AgentTimeouts {
    ping_interval: Duration::from_millis(50),
    // Longer than a slow machine keeps a process that has something to say from saying it.
    silence_limit: Duration::from_secs(3),
    session_grace: Duration::from_secs(60),
    open_limit: Duration::from_secs(10),
};

/// Starts a cloud whose agents connect from elsewhere.
async fn cloud(timeouts: AgentTimeouts) -> (Cloud, RemoteAgents) {
    let agents = RemoteAgents::new(timeouts);
    let shared = agents.clone();
    let cloud = Cloud::start(move |options| {
        options.agent = Arc::new(shared);
        options.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    })
    .await;
    (cloud, agents)
}

/// Starts the agent of an instance. It ends when this is dropped.
fn agent(cloud: &Cloud, agents: &RemoteAgents, instance: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_drawbridge-agent"))
        .env_clear()
        .env("DRAWBRIDGE_AGENT_GATEWAY", cloud.gateway.also_at()[0].to_string())
        .env("DRAWBRIDGE_AGENT_INSTANCE", instance)
        .env("DRAWBRIDGE_AGENT_SECRET", agents.secret().expose())
        .env("DRAWBRIDGE_AGENT_PACING", "unlimited")
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

fn signal(agent: &Child, signal: Signal) {
    kill(Pid::from_raw(agent.id().unwrap().try_into().unwrap()), signal).unwrap();
}

/// Makes a bastion with its agent and waits until it is online.
async fn bastion(cloud: &Cloud, agents: &RemoteAgents) -> (String, Child) {
    let site = cloud.site().await;
    cloud.profile().await;
    cloud.attach_policy().await;
    let id = cloud.launch(&site).await;
    let agent = agent(cloud, agents, &id);
    until(async || cloud.ping(&id).await.as_deref() == Some("Online")).await;
    (id, agent)
}

/// The tunnel's way to the gateway.
struct Way {
    client: Client,
    key: Key,
    target: String,
    host: String,
    port: u16,
}

impl Way {
    async fn ask(&self, operation: &str, body: Value) -> Result<SessionToken, ControlError> {
        let answer = self.client.json("ssm", &format!("AmazonSSM.{operation}"), &body).await;
        if answer.status != 200 {
            return Err(answer.code().into());
        }
        let answer = answer.json();
        let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        let token = Token::new(text("TokenValue"));
        Ok(SessionToken { session_id: text("SessionId"), url: text("StreamUrl"), token })
    }
}

impl Control for Way {
    fn start(&self) -> BoxFuture<'_, Result<SessionToken, ControlError>> {
        let port = [self.port.to_string()];
        // As agents want it: a port of their own has a document of its own.
        let (document, parameters) = match self.host.as_str() {
            "localhost" => ("AWS-StartPortForwardingSession", json!({ "portNumber": port })),
            host => {
                ("AWS-StartPortForwardingSessionToRemoteHost", json!({ "host": [host], "portNumber": port }))
            }
        };
        Box::pin(self.ask(
            "StartSession",
            json!({ "Target": self.target, "DocumentName": document, "Parameters": parameters }),
        ))
    }

    fn sign(&self, url: &str) -> BoxFuture<'_, Result<Vec<(String, String)>, ControlError>> {
        let signed = signed_upgrade(&self.key, url);
        Box::pin(async { Ok(signed) })
    }

    fn resume(&self, session_id: &str) -> BoxFuture<'_, Result<Option<SessionToken>, ControlError>> {
        let body = json!({ "SessionId": session_id });
        Box::pin(async move {
            let token = self.ask("ResumeSession", body).await?;
            Ok(Some(token).filter(|token| !token.url.is_empty()))
        })
    }

    fn terminate(&self, session_id: &str) -> BoxFuture<'_, Result<(), ControlError>> {
        let body = json!({ "SessionId": session_id });
        Box::pin(async move { self.ask("TerminateSession", body).await.map(drop) })
    }
}

async fn tunnel(cloud: &Cloud, target: &str, port: u16) -> Result<Tunnel, tunnel::Error> {
    tunnel_to(cloud, target, "localhost", port).await
}

async fn tunnel_to(cloud: &Cloud, target: &str, host: &str, port: u16) -> Result<Tunnel, tunnel::Error> {
    let (client, key, host) = (cloud.client.clone(), cloud.gateway.key().clone(), host.to_owned());
    let options = tunnel::Options::new(format!("{host}:{port}"));
    Tunnel::open(Arc::new(Way { client, key, target: target.to_owned(), host, port }), options).await
}

/// Starts a server that sends back what it gets, and returns its port.
async fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.into_split();
                tokio::io::copy(&mut reader, &mut writer).await
            });
        }
    });
    port
}

async fn say(stream: &mut Stream, text: &[u8]) {
    stream.write_all(text).await.unwrap();
    let mut told = vec![0; text.len()];
    stream.read_exact(&mut told).await.unwrap();
    assert_eq!(told, text);
}

#[tokio::test]
async fn a_bastion_is_online_as_long_as_its_agent_is() {
    let (cloud, agents) = cloud(TIMEOUTS).await;
    let (id, mut process) = bastion(&cloud, &agents).await;
    let status = async || cloud.ssm("GetConnectionStatus", json!({ "Target": id })).await.json();
    assert_eq!(status().await["Status"], "connected");

    process.kill().await.unwrap();
    until(async || cloud.ping(&id).await.as_deref() == Some("ConnectionLost")).await;
    assert_eq!(status().await["Status"], "notconnected");
    let Err(refused) = tunnel(&cloud, &id, 1).await else { panic!("a session with nobody") };
    assert!(format!("{refused:?}").contains("TargetNotConnected"), "{refused:?}");

    let _process = agent(&cloud, &agents, &id);
    until(async || cloud.ping(&id).await.as_deref() == Some("Online")).await;
    assert_eq!(status().await["Status"], "connected");
}

#[tokio::test]
async fn an_agent_that_connects_without_the_rules_of_aws_is_not_registered() {
    let (cloud, agents) = cloud(TIMEOUTS).await;
    let site = cloud.site().await;
    cloud.profile().await;
    let id = cloud.launch(&site).await;
    let obstacle = async || {
        let health = cloud.client.control(hyper::Method::GET, "health", &Value::Null).await.json();
        health["agents"][&id].as_str().map(str::to_owned)
    };
    until(async || obstacle().await.as_deref() == Some("its agent has not connected to the gateway")).await;
    let _process = agent(&cloud, &agents, &id);
    let policy = "the role does not have `AmazonSSMManagedInstanceCore`";
    until(async || obstacle().await.as_deref() == Some(policy)).await;
    assert!(agents.is_connected(&id));
    assert_eq!(cloud.ping(&id).await, None);
}

#[tokio::test]
async fn bytes_go_through_the_agent_s_own_connections() {
    let (cloud, agents) = cloud(TIMEOUTS).await;
    let (id, _process) = bastion(&cloud, &agents).await;
    let tunnel = tunnel(&cloud, &id, echo().await).await.unwrap();
    let (mut one, mut other) = (tunnel.connect().await.unwrap(), tunnel.connect().await.unwrap());
    let many: Vec<u8> = (0..300_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    tokio::join!(say(&mut one, &many), say(&mut other, b"beside"));
    drop((one, other));
    tunnel.close().await.unwrap();
    assert_eq!(cloud.gateway.live_sessions(), 0);
}

#[tokio::test]
async fn the_agent_dials_by_the_resolver_of_its_own_host() {
    let (cloud, agents) = cloud(TIMEOUTS).await;
    let (id, _process) = bastion(&cloud, &agents).await;
    // No address by the letter, but every system's resolver takes it for one.
    let tunnel = tunnel_to(&cloud, &id, "127.1", echo().await).await.unwrap();
    say(&mut tunnel.connect().await.unwrap(), b"hello").await;

    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let tunnel = tunnel_to(&cloud, &id, "127.1", closed).await.unwrap();
    let refused = tunnel.connect().await.unwrap().read_u8().await.unwrap_err();
    assert_eq!(refused.to_string(), format!("the bastion could not connect to `127.1:{closed}`"));
}

#[tokio::test]
async fn the_end_of_the_process_ends_its_sessions_at_once() {
    let (cloud, agents) = cloud(TIMEOUTS).await;
    let (id, mut process) = bastion(&cloud, &agents).await;
    let tunnel = tunnel(&cloud, &id, echo().await).await.unwrap();
    let mut stream = tunnel.connect().await.unwrap();
    say(&mut stream, b"hello").await;
    process.kill().await.unwrap();
    let ended = stream.read_u8().await.unwrap_err();
    assert!(ended.to_string().contains("the session has ended"), "{ended}");
    assert_eq!(cloud.gateway.live_sessions(), 0);
}

#[tokio::test]
async fn the_signal_of_docker_stop_ends_the_process() {
    let (cloud, agents) = cloud(TIMEOUTS).await;
    let mut process = agent(&cloud, &agents, "i-1");
    agents.wait_until_connected("i-1").await;
    signal(&process, Signal::SIGTERM);
    let ended = tokio::time::timeout(support::LIMIT, process.wait()).await.expect("it ends");
    assert!(ended.unwrap().success());
    until(async || !agents.is_connected("i-1")).await;
}

#[tokio::test]
async fn a_silent_agent_is_lost_and_its_sessions_wait_for_it() {
    let (cloud, agents) = cloud(TIMEOUTS).await;
    let (id, process) = bastion(&cloud, &agents).await;
    let tunnel = tunnel(&cloud, &id, echo().await).await.unwrap();
    let mut stream = tunnel.connect().await.unwrap();
    say(&mut stream, b"before").await;

    // As a container that is paused, or cut off from the network: nothing is closed.
    signal(&process, Signal::SIGSTOP);
    until(async || cloud.ping(&id).await.as_deref() == Some("ConnectionLost")).await;
    stream.write_all(b"meanwhile").await.unwrap();
    signal(&process, Signal::SIGCONT);
    until(async || cloud.ping(&id).await.as_deref() == Some("Online")).await;
    let mut told = [0; 9];
    stream.read_exact(&mut told).await.unwrap();
    assert_eq!(&told, b"meanwhile");
    say(&mut stream, b"after").await;
}

#[tokio::test]
async fn sessions_of_an_agent_that_stays_away_end() {
    let (cloud, agents) = cloud(AgentTimeouts { session_grace: Duration::ZERO, ..TIMEOUTS }).await;
    let (id, process) = bastion(&cloud, &agents).await;
    let tunnel = tunnel(&cloud, &id, echo().await).await.unwrap();
    let mut stream = tunnel.connect().await.unwrap();
    say(&mut stream, b"before").await;
    signal(&process, Signal::SIGSTOP);
    let ended = stream.read_u8().await.unwrap_err();
    assert!(ended.to_string().contains("the session has ended"), "{ended}");
    signal(&process, Signal::SIGCONT);
    until(async || cloud.ping(&id).await.as_deref() == Some("Online")).await;
}

#[tokio::test]
async fn a_new_process_in_the_place_of_a_silent_one_ends_the_old_one_s_sessions() {
    let (cloud, agents) = cloud(TIMEOUTS).await;
    let (id, process) = bastion(&cloud, &agents).await;
    let tunnel = tunnel(&cloud, &id, echo().await).await.unwrap();
    let mut stream = tunnel.connect().await.unwrap();
    say(&mut stream, b"before").await;
    signal(&process, Signal::SIGSTOP);
    let _successor = agent(&cloud, &agents, &id);
    let ended = stream.read_u8().await.unwrap_err();
    assert!(ended.to_string().contains("the session has ended"), "{ended}");
    say(&mut tunnel.connect().await.unwrap(), b"new").await;
}

#[tokio::test]
async fn nobody_is_let_in_without_the_secret() {
    let (cloud, agents) = cloud(TIMEOUTS).await;
    let other = RemoteAgents::new(TIMEOUTS);
    let mut process = Command::new(env!("CARGO_BIN_EXE_drawbridge-agent"))
        .env_clear()
        .env("DRAWBRIDGE_AGENT_GATEWAY", cloud.gateway.address().to_string())
        .env("DRAWBRIDGE_AGENT_INSTANCE", "i-1")
        .env("DRAWBRIDGE_AGENT_SECRET", other.secret().expose())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut told = Vec::new();
    let mut stderr = process.stderr.take().unwrap();
    until(async || {
        stderr.read_buf(&mut told).await.unwrap();
        String::from_utf8_lossy(&told).contains("403")
    })
    .await;
    assert!(!agents.is_connected("i-1"));
    assert!(!String::from_utf8_lossy(&told).contains(other.secret().expose()));
    assert!(cloud.gateway.journal().is_empty(), "agents are no callers of AWS");
}

#[tokio::test]
async fn the_machines_are_told_of_boots_and_ends_in_order() {
    struct Told(mpsc::UnboundedSender<String>);
    impl Machines for Told {
        fn boot(&self, instance_id: &str) {
            self.0.send(format!("boot {instance_id}")).unwrap();
        }

        fn halt(&self, instance_id: &str) {
            self.0.send(format!("halt {instance_id}")).unwrap();
        }
    }
    let (tell, mut told) = mpsc::unbounded_channel();
    let cloud = Cloud::start(|options| options.machines = Arc::new(Told(tell))).await;
    let site = cloud.site().await;
    cloud.profile().await;
    let id = cloud.launch(&site).await;
    for action in ["RebootInstances", "StopInstances", "StartInstances", "TerminateInstances"] {
        cloud.ec2(action, &[("InstanceId.1", &id)]).await;
    }
    for wanted in ["boot", "halt", "boot", "halt", "boot", "halt"] {
        let order = tokio::time::timeout(support::LIMIT, told.recv()).await.expect("the machines are told");
        assert_eq!(order.unwrap(), format!("{wanted} {id}"));
    }
    assert!(told.try_recv().is_err());
}

#[tokio::test]
async fn a_gateway_does_not_listen_everywhere() {
    let stub = Stub::start().await;
    let upstreams = Upstreams::one(Emulator::Moto(stub.address));
    let agents = Arc::new(RemoteAgents::new(TIMEOUTS));
    let mut options = Options::new(upstreams, agents, Arc::new(NoDatabases));
    options.listen = vec![SocketAddr::from(([0, 0, 0, 0], 0))];
    let refused = Gateway::start(options).await.unwrap_err();
    assert!(refused.to_string().starts_with("0.0.0.0:0 would open the gateway to everybody"), "{refused}");
}
