//! A gateway in front of moto, with what a bastion and a database need.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use sandbox::gateway::{
    Agent, AgentSession, DatabaseSpec, Databases, Emulator, Gateway, NoDatabases, Options, Password,
    Upstreams,
};
use sandbox::{Moto, MotoSource};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::client::{Answer, Client, LostAnswer};
use crate::support;

/// Sends every frame back; `end` ends the session after one more frame.
pub(crate) struct Echo;

impl Agent for Echo {
    fn serve(
        &self,
        session: AgentSession,
        mut from_client: mpsc::Receiver<Bytes>,
        to_client: mpsc::Sender<Bytes>,
    ) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            while let Some(frame) = from_client.recv().await {
                let frame = match &frame[..] {
                    b"end" => break,
                    b"where" => Bytes::from(format!("{}:{}", session.host, session.port)),
                    _ => frame,
                };
                drop(to_client.send(frame).await);
            }
            drop(to_client.send(Bytes::from_static(b"last")).await);
        })
    }
}

/// Keeps what it is asked for, passwords in clear.
#[derive(Default)]
pub(crate) struct Recorder(Mutex<Vec<String>>);

impl Recorder {
    pub(crate) fn told(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    fn note(&self, line: String) -> BoxFuture<'_, Result<(), String>> {
        self.0.lock().unwrap().push(line);
        Box::pin(async { Ok(()) })
    }
}

impl Databases for Recorder {
    fn create(&self, spec: DatabaseSpec) -> BoxFuture<'_, Result<(), String>> {
        let password = spec.master_password.expose();
        self.note(format!(
            "create {} {} {password} {:?}",
            spec.identifier, spec.master_user, spec.database_name
        ))
    }

    fn set_password(
        &self,
        identifier: &str,
        user: &str,
        password: Password,
    ) -> BoxFuture<'_, Result<(), String>> {
        self.note(format!("set_password {identifier} {user} {}", password.expose()))
    }

    fn delete(&self, identifier: &str) -> BoxFuture<'_, Result<(), String>> {
        self.note(format!("delete {identifier}"))
    }
}

pub(crate) async fn gateway_over(address: SocketAddr) -> Gateway {
    let upstreams = Upstreams::one(Emulator::Moto(address));
    Gateway::start(Options::new(upstreams, Arc::new(Echo), Arc::new(NoDatabases))).await.unwrap()
}

/// Returns the moto of all tests. It lives as long as this process.
fn moto() -> Emulator {
    static MOTO: OnceLock<Emulator> = OnceLock::new();
    *MOTO.get_or_init(start_moto)
}

/// Returns a second one.
pub(crate) fn other_moto() -> Emulator {
    static MOTO: OnceLock<Emulator> = OnceLock::new();
    *MOTO.get_or_init(start_moto)
}

fn start_moto() -> Emulator {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let dir = support::folder();
            let source = MotoSource::Python(support::runtime());
            let moto = Moto::start(&source, dir.path()).await.unwrap();
            // Nobody is left to remove it at the end.
            drop(dir);
            tell.send(moto.emulator()).unwrap();
            std::future::pending::<()>().await
        })
    });
    told.recv_timeout(support::LIMIT).unwrap()
}

/// Returns what is behind the gateways of all tests: moto, or moto for RDS and for everything else the LocalStack
/// that `DRAWBRIDGE_TEST_LOCALSTACK` gives the address of.
pub(crate) fn upstreams() -> Upstreams {
    let localstack = std::env::var("DRAWBRIDGE_TEST_LOCALSTACK").ok().map(|told| told.parse().unwrap());
    let rds = moto();
    Upstreams { rds, others: localstack.map_or(rds, Emulator::LocalStack) }
}

/// A gateway with what is behind it.
pub(crate) struct Cloud {
    pub(crate) gateway: Gateway,
    pub(crate) client: Client,
    pub(crate) databases: Arc<Recorder>,
    /// What everything of this test is called: the tests share one moto, whose start takes longer than they do.
    pub(crate) name: String,
}

/// The ids of a network with room for a bastion and a database.
pub(crate) struct Site {
    pub(crate) vpc: String,
    pub(crate) internet: String,
    pub(crate) public: String,
    pub(crate) private: String,
    pub(crate) bastions: String,
    pub(crate) databases: String,
}

const POLICY: &str = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore";

impl Cloud {
    /// Starts with every delay at nothing and no refusals, then lets `tune` change that.
    pub(crate) async fn start(tune: impl FnOnce(&mut Options)) -> Cloud {
        Cloud::over(upstreams(), tune).await
    }

    /// As `start`, over those programs.
    pub(crate) async fn over(upstreams: Upstreams, tune: impl FnOnce(&mut Options)) -> Cloud {
        let databases = Arc::new(Recorder::default());
        let mut options = Options::new(upstreams, Arc::new(Echo), Arc::<Recorder>::clone(&databases));
        options.registration_delay = Duration::ZERO;
        options.session_refusals = 0;
        options.profile_refusals = 0;
        options.termination_delay = Duration::ZERO;
        options.database_delay = Duration::ZERO;
        tune(&mut options);
        let gateway = Gateway::start(options).await.unwrap();
        Cloud {
            client: Client::new(&gateway),
            gateway,
            databases,
            name: format!("t{}", uuid::Uuid::new_v4().simple()),
        }
    }

    pub(crate) async fn ec2(&self, action: &str, params: &[(&str, &str)]) -> Answer {
        self.client.ok("ec2", action, params).await
    }

    /// Describes the instances in a site.
    pub(crate) async fn instances(&self, site: &Site) -> Answer {
        self.ec2("DescribeInstances", &[("Filter.1.Name", "vpc-id"), ("Filter.1.Value.1", &site.vpc)]).await
    }

    pub(crate) async fn ssm(&self, operation: &str, body: Value) -> Answer {
        self.client.json("ssm", &format!("AmazonSSM.{operation}"), &body).await
    }

    /// Makes network, groups and rules as a stack does.
    pub(crate) async fn site(&self) -> Site {
        let vpc = self.ec2("CreateVpc", &[("CidrBlock", "10.0.0.0/16")]).await.get("vpcId");
        let internet = self.ec2("CreateInternetGateway", &[]).await.get("internetGatewayId");
        self.ec2("AttachInternetGateway", &[("InternetGatewayId", &internet), ("VpcId", &vpc)]).await;
        let public = self.subnet(&vpc, "10.0.0.0/24", "us-east-1a").await;
        let private = self.subnet(&vpc, "10.0.1.0/24", "us-east-1b").await;
        let routes = self.ec2("CreateRouteTable", &[("VpcId", &vpc)]).await.get("routeTableId");
        let default = [
            ("RouteTableId", routes.as_str()),
            ("DestinationCidrBlock", "0.0.0.0/0"),
            ("GatewayId", internet.as_str()),
        ];
        self.ec2("CreateRoute", &default).await;
        self.ec2("AssociateRouteTable", &[("RouteTableId", &routes), ("SubnetId", &public)]).await;
        let bastions = self.group(&vpc, "bastions").await;
        let databases = self.group(&vpc, "databases").await;
        self.allow("AuthorizeSecurityGroupEgress", &bastions, "443", ("IpRanges.1.CidrIp", "0.0.0.0/0"))
            .await;
        self.allow("AuthorizeSecurityGroupEgress", &bastions, "5432", ("Groups.1.GroupId", &databases)).await;
        self.allow("AuthorizeSecurityGroupIngress", &databases, "5432", ("Groups.1.GroupId", &bastions))
            .await;
        Site { vpc, internet, public, private, bastions, databases }
    }

    async fn subnet(&self, vpc: &str, cidr: &str, zone: &str) -> String {
        let params = [("VpcId", vpc), ("CidrBlock", cidr), ("AvailabilityZone", zone)];
        self.ec2("CreateSubnet", &params).await.get("subnetId")
    }

    async fn group(&self, vpc: &str, name: &str) -> String {
        let params = [("GroupName", name), ("GroupDescription", name), ("VpcId", vpc)];
        let id = self.ec2("CreateSecurityGroup", &params).await.get("groupId");
        let all = [
            ("GroupId", id.as_str()),
            ("IpPermissions.1.IpProtocol", "-1"),
            ("IpPermissions.1.IpRanges.1.CidrIp", "0.0.0.0/0"),
        ];
        self.ec2("RevokeSecurityGroupEgress", &all).await;
        id
    }

    pub(crate) async fn allow(&self, action: &str, group: &str, port: &str, peer: (&str, &str)) {
        let peer_name = format!("IpPermissions.1.{}", peer.0);
        let params = [
            ("GroupId", group),
            ("IpPermissions.1.IpProtocol", "tcp"),
            ("IpPermissions.1.FromPort", port),
            ("IpPermissions.1.ToPort", port),
            (peer_name.as_str(), peer.1),
        ];
        self.ec2(action, &params).await;
    }

    /// Makes a role and a profile with it; the role has no policy.
    pub(crate) async fn profile(&self) {
        let trust = r#"{"Version":"2012-10-17","Statement":[]}"#;
        let role = [("RoleName", self.name.as_str()), ("AssumeRolePolicyDocument", trust)];
        self.client.ok("iam", "CreateRole", &role).await;
        self.client.ok("iam", "CreateInstanceProfile", &[("InstanceProfileName", &self.name)]).await;
        let both = [("InstanceProfileName", self.name.as_str()), ("RoleName", self.name.as_str())];
        self.client.ok("iam", "AddRoleToInstanceProfile", &both).await;
    }

    pub(crate) async fn attach_policy(&self) {
        let params = [("RoleName", self.name.as_str()), ("PolicyArn", POLICY)];
        self.client.ok("iam", "AttachRolePolicy", &params).await;
    }

    pub(crate) async fn try_launch(
        &self,
        site: &Site,
        token: &str,
        kind: &str,
    ) -> Result<Answer, LostAnswer> {
        let name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64";
        let image =
            self.ssm("GetParameter", json!({ "Name": name })).await.json()["Parameter"]["Value"].clone();
        let params = [
            ("ImageId", image.as_str().unwrap()),
            ("InstanceType", kind),
            ("MinCount", "1"),
            ("MaxCount", "1"),
            ("ClientToken", token),
            ("IamInstanceProfile.Name", self.name.as_str()),
            ("NetworkInterface.1.DeviceIndex", "0"),
            ("NetworkInterface.1.SubnetId", &site.public),
            ("NetworkInterface.1.SecurityGroupId.1", &site.bastions),
            ("NetworkInterface.1.AssociatePublicIpAddress", "true"),
        ];
        self.client.try_query("ec2", "RunInstances", &params).await
    }

    pub(crate) async fn launch(&self, site: &Site) -> String {
        let answer = self.try_launch(site, "token", "t3.micro").await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.get("instanceId")
    }

    /// Makes everything that a session needs and waits until the agent is online.
    pub(crate) async fn bastion(&self) -> (Site, String) {
        let site = self.site().await;
        self.profile().await;
        self.attach_policy().await;
        let id = self.launch(&site).await;
        until(async || self.ping(&id).await == Some("Online".to_owned())).await;
        (site, id)
    }

    /// Returns the ping status of an instance, if Session Manager knows it.
    pub(crate) async fn ping(&self, id: &str) -> Option<String> {
        let filter = json!({ "Filters": [{ "Key": "InstanceIds", "Values": [id] }] });
        let told = self.ssm("DescribeInstanceInformation", filter).await.json();
        told["InstanceInformationList"][0]["PingStatus"].as_str().map(str::to_owned)
    }

    /// Makes the subnet group.
    pub(crate) async fn subnet_group(&self, site: &Site) {
        let params = [
            ("DBSubnetGroupName", self.name.as_str()),
            ("DBSubnetGroupDescription", "databases"),
            ("SubnetIds.SubnetIdentifier.1", site.public.as_str()),
            ("SubnetIds.SubnetIdentifier.2", site.private.as_str()),
        ];
        self.client.ok("rds", "CreateDBSubnetGroup", &params).await;
    }

    /// Asks for the database with those parameters on top.
    pub(crate) async fn try_database(&self, site: &Site, more: &[(&str, &str)]) -> Answer {
        let mut params = vec![
            ("DBInstanceIdentifier", self.name.as_str()),
            ("DBInstanceClass", "db.t4g.small"),
            ("Engine", "postgres"),
            ("EngineVersion", "17.6"),
            ("AllocatedStorage", "20"),
            ("MasterUsername", "master"),
            ("DBName", "first"),
            ("DBSubnetGroupName", self.name.as_str()),
            ("VpcSecurityGroupIds.VpcSecurityGroupId.1", site.databases.as_str()),
        ];
        params.extend_from_slice(more);
        self.client.query("rds", "CreateDBInstance", &params).await
    }

    /// Returns the status of the database, and nothing when it is gone.
    pub(crate) async fn database_status(&self) -> Option<String> {
        let told =
            self.client.query("rds", "DescribeDBInstances", &[("DBInstanceIdentifier", &self.name)]).await;
        if told.status == 404 { None } else { Some(told.get("DBInstanceStatus")) }
    }
}

/// Starts a moto in that folder that no other test has, for one that empties it.
pub(crate) async fn own_moto(dir: &std::path::Path) -> Moto {
    Moto::start(&MotoSource::Python(support::runtime()), dir).await.unwrap()
}

/// Lets so much time pass at once, for all that waits in this process. It is real time before and after that.
pub(crate) async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// Asks again until it is so.
pub(crate) async fn until(mut condition: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !condition().await {
            // A condition that never waits would leave the gateway, which runs on the same thread, no turn.
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(support::LIMIT, wait).await.expect("it never became so");
}
