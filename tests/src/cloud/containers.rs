//! LocalStack and moto behind the gateway, PostgreSQL on a private network, and a bastion between the two.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sandbox::gateway::{self, AgentTimeouts, Emulator, Gateway, RemoteAgents, Side, UpstreamCall, Upstreams};
use sandbox::{Authority, ContainerDatabases, KeyKind};
use testcontainers_modules::localstack::LocalStack;
use testcontainers_modules::testcontainers::core::{IntoContainerPort, WaitFor};
use testcontainers_modules::testcontainers::runners::AsyncRunner;
use testcontainers_modules::testcontainers::{ContainerAsync, GenericImage, ImageExt};

use super::bastions::{self, AgentSettings, Bastions, Line, Orders};
use super::docker::{Images, READY_LIMIT, docker, of};
use super::servers::Servers;

/// A cloud in containers. What is left of it when a test fails is removed by its label.
pub struct Containers {
    gateway: Gateway,
    databases: Arc<ContainerDatabases>,
    servers: Arc<Servers>,
    bastions: Bastions,
    localstack: ContainerAsync<LocalStack>,
    localstack_address: SocketAddr,
    moto: ContainerAsync<GenericImage>,
    networks: [String; 2],
    dir: PathBuf,
    region: String,
}

impl Containers {
    /// Starts everything, with its files in `dir`.
    pub(crate) async fn start(images: Images, dir: PathBuf, region: String) -> Containers {
        let edge = images.network("edge", &[]).await;
        // No way in or out but through the bastion.
        let private = images.network("private", &["--internal"]).await;
        let (localstack_port, moto_port) = (free_port(), free_port());
        let localstack = LocalStack::default();
        let moto = GenericImage::new(images.moto.name.clone(), images.moto.tag.clone())
            .with_env_var("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
            .with_env_var("MOTO_ACCOUNT_ID", "000000000000");
        // A fixed port: a random one would be another after a restart.
        let localstack = of(localstack, &images.localstack, &images, "localstack", &edge)
            .with_mapped_port(localstack_port, 4566.tcp())
            .with_ready_conditions(vec![WaitFor::message_on_stdout("Ready.")])
            .with_startup_timeout(READY_LIMIT);
        let moto = of(moto, &images.moto, &images, "moto", &edge).with_mapped_port(moto_port, 5000.tcp());
        let (localstack, moto) = tokio::join!(localstack.start(), moto.start());
        let (localstack, moto) = (localstack.expect("LocalStack starts"), moto.expect("moto starts"));
        let upstreams = Upstreams {
            rds: Emulator::Moto(loopback(moto_port)),
            others: Emulator::LocalStack(loopback(localstack_port)),
        };
        wait_until_answered(loopback(moto_port), "/moto-api/data.json").await;

        let agents = RemoteAgents::new(AgentTimeouts::default());
        let servers = Arc::new(Servers::new(images.clone(), private.clone()));
        let authority = Authority::new(KeyKind::Rsa).expect("a key can be made");
        std::fs::write(dir.join(CA_FILE), authority.pem()).expect("the folder can be written to");
        let databases = Arc::new(ContainerDatabases::new(authority, servers.clone()));
        let (told, orders) = Orders::channel();
        let mut options = gateway::Options::new(upstreams, Arc::new(agents.clone()), databases.clone());
        options.machines = Arc::new(told);
        options.listen = vec![SocketAddr::new(bridge_address(&edge).await, 0)];
        let gateway = Gateway::start(options).await.expect("the gateway starts");
        // By the gateway, which counts what LocalStack logs.
        sandbox::localstack::warm(gateway.address(), gateway.key()).await.expect("each service answers");
        let settings = AgentSettings {
            gateway: gateway.also_at()[0].to_string(),
            secret: agents.secret().expose().to_owned(),
        };
        let networks = [edge, private];
        let bastions = Bastions::serve(images, networks.clone(), settings, orders);
        Containers {
            localstack_address: loopback(localstack_port),
            gateway,
            databases,
            servers,
            bastions,
            localstack,
            moto,
            networks,
            dir,
            region,
        }
    }

    /// Returns the gateway.
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// Returns the folder with its files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the variables that point the program at it.
    pub fn environment(&self) -> Vec<(String, String)> {
        let variables = [
            ("AWS_ENDPOINT_URL", self.gateway.endpoint()),
            ("AWS_ACCESS_KEY_ID", self.gateway.key().id().to_owned()),
            ("AWS_SECRET_ACCESS_KEY", self.gateway.key().secret().expose().to_owned()),
            ("AWS_REGION", self.region.clone()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("DRAWBRIDGE_CA_BUNDLE", self.dir.join(CA_FILE).display().to_string()),
        ];
        variables.map(|(name, value)| (name.to_owned(), value)).into()
    }

    /// Returns the requests that LocalStack's own log tells of, and those that the gateway counted, both sorted.
    pub async fn requests(&self) -> (Vec<UpstreamCall>, Vec<UpstreamCall>) {
        let log = self.localstack.stderr_to_vec().await.expect("a container has a log");
        let mut own = sandbox::localstack::upstream_calls(&String::from_utf8_lossy(&log));
        let mut counted = self.gateway.upstream_calls();
        counted.retain(|passed| passed.side == Side::Others);
        own.sort();
        counted.sort();
        (own, counted)
    }

    /// Says which ports of the databases' containers the host can reach: none, if all is well.
    pub async fn published(&self) -> String {
        let ids = self.servers.ids();
        let mut published = String::new();
        for id in ids {
            published.push_str(&docker(&["port", &id]).await);
        }
        published
    }

    /// Kills every database's server, as a power failure would.
    pub async fn kill_databases(&self) {
        for id in self.servers.ids() {
            docker(&["kill", &id]).await;
        }
    }

    /// Starts the databases' servers again and waits until they go on with their data.
    pub async fn start_databases(&self) {
        for id in self.servers.ids() {
            docker(&["start", &id]).await;
            self.servers.wait_until_ready(&id).await;
        }
    }

    /// Kills every bastion.
    pub async fn kill_bastions(&self) {
        for id in self.bastions.ids() {
            docker(&["kill", &id]).await;
        }
    }

    /// Starts the bastions again.
    pub async fn start_bastions(&self) {
        for id in self.bastions.ids() {
            docker(&["start", &id]).await;
        }
    }

    /// Takes the databases off their network: nothing that is sent to them arrives, and nobody is told.
    pub async fn cut_off_databases(&self) {
        self.servers.cut_off().await;
    }

    /// Puts the databases back on their network.
    pub async fn join_databases(&self) {
        self.servers.join().await;
    }

    /// Gives bastions' agents that line from their next boot on.
    pub fn set_line(&self, line: Line) {
        self.bastions.set_line(line);
    }

    /// Makes both networks of every bastion slow, and says how.
    pub async fn slow_down_bastions(&self) -> String {
        let mut how = String::new();
        for id in self.bastions.ids() {
            how.push_str(&bastions::slow_down(&id).await);
        }
        how
    }

    /// Starts LocalStack anew, empty.
    pub async fn restart_localstack(&self) {
        docker(&["restart", "--time", "1", self.localstack.id()]).await;
        wait_until_answered(self.localstack_address, "/_localstack/health").await;
        sandbox::localstack::warm(self.gateway.address(), self.gateway.key())
            .await
            .expect("each service answers");
    }

    pub(crate) async fn stop(self) {
        self.gateway.stop().await;
        self.databases.stop().await.expect("the databases' containers can be removed");
        self.bastions.stop().await;
        self.localstack.rm().await.expect("LocalStack can be removed");
        self.moto.rm().await.expect("moto can be removed");
        for network in &self.networks {
            docker(&["network", "rm", network]).await;
        }
    }
}

const CA_FILE: &str = "rds-ca.pem";

/// Returns the host's own address in a network.
async fn bridge_address(network: &str) -> IpAddr {
    let told =
        docker(&["network", "inspect", network, "--format", "{{(index .IPAM.Config 0).Gateway}}"]).await;
    told.parse().expect("a bridge has an address")
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    listener.local_addr().expect("it is bound").port()
}

/// Waits until an emulator answers; moto prints nothing that is the same in every version.
async fn wait_until_answered(address: SocketAddr, path: &str) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let answered = async || -> std::io::Result<bool> {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
        let mut head = [0; 12];
        stream.read_exact(&mut head).await?;
        Ok(head.ends_with(b" 200"))
    };
    let waiting = async {
        while !answered().await.unwrap_or(false) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(READY_LIMIT, waiting).await.expect("the emulator answers");
}
