//! LocalStack and moto behind the gateway, PostgreSQL on a private network, and a bastion between the two.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sandbox::gateway::{self, Emulator, Gateway, Machines, Passed, Patience, RemoteAgents, Side, Upstreams};
use sandbox::{Authority, ContainerDatabases, ContainerServer, KeyKind};
use testcontainers_modules::localstack::LocalStack;
use testcontainers_modules::postgres::Postgres;
use testcontainers_modules::testcontainers::core::{CopyDataSource, IntoContainerPort, WaitFor};
use testcontainers_modules::testcontainers::runners::AsyncRunner;
use testcontainers_modules::testcontainers::{
    ContainerAsync, ContainerRequest, CopyTargetOptions, GenericImage, ImageExt,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::docker::{Image, Images, LABEL, docker, try_docker};

const READY_LIMIT: Duration = Duration::from_secs(120);

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

        let agents = RemoteAgents::new(Patience::default());
        let servers =
            Arc::new(Servers { images: images.clone(), network: private.clone(), running: Mutex::default() });
        let authority = Authority::new(KeyKind::Rsa).expect("a key can be made");
        std::fs::write(dir.join(CA_FILE), authority.pem()).expect("the folder can be written to");
        let databases = Arc::new(ContainerDatabases::new(authority, servers.clone()));
        let (told, orders) = mpsc::unbounded_channel();
        let mut options = gateway::Options::new(upstreams, Arc::new(agents.clone()), databases.clone());
        options.machines = Arc::new(Orders(told));
        options.listen = vec![SocketAddr::new(bridge_address(&edge).await, 0)];
        let gateway = Gateway::start(options).await.expect("the gateway starts");
        let settings = AgentSettings {
            gateway: gateway.also_at()[0].to_string(),
            secret: agents.secret().expose().to_owned(),
            program: agent_program(),
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
            ("AWS_ACCESS_KEY_ID", "containers".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "containers".to_owned()),
            ("AWS_REGION", self.region.clone()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("DRAWBRIDGE_CA_BUNDLE", self.dir.join(CA_FILE).display().to_string()),
        ];
        variables.map(|(name, value)| (name.to_owned(), value)).into()
    }

    /// Returns the requests that LocalStack's own log tells of, and those that the gateway counted, both sorted.
    pub async fn requests(&self) -> (Vec<Passed>, Vec<Passed>) {
        let log = self.localstack.stderr_to_vec().await.expect("a container has a log");
        let mut own = sandbox::localstack::passed(&String::from_utf8_lossy(&log));
        let mut counted = self.gateway.passed();
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

    /// Starts the databases' servers again; they go on with their data.
    pub async fn start_databases(&self) {
        for id in self.servers.ids() {
            docker(&["start", &id]).await;
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

    /// Starts LocalStack anew, empty.
    pub async fn restart_localstack(&self) {
        docker(&["restart", "--time", "1", self.localstack.id()]).await;
        wait_until_answered(self.localstack_address, "/_localstack/health").await;
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

/// Labels, names and places a container.
fn of<I: testcontainers_modules::testcontainers::Image>(
    request: impl Into<ContainerRequest<I>>,
    image: &Image,
    images: &Images,
    what: &str,
    network: &str,
) -> ContainerRequest<I> {
    request
        .into()
        .with_name(&image.name)
        .with_tag(&image.tag)
        .with_container_name(images.name(what))
        .with_label(LABEL, &images.run)
        .with_network(network)
}

/// The servers behind RDS instances.
struct Servers {
    images: Images,
    network: String,
    running: Mutex<HashMap<String, ContainerAsync<Postgres>>>,
}

impl Servers {
    fn ids(&self) -> Vec<String> {
        lock(&self.running).values().map(|server| server.id().to_owned()).collect()
    }

    async fn run(&self, server: ContainerServer) -> Result<(), String> {
        let mut request =
            of(Postgres::default(), &self.images.postgres, &self.images, "postgres", &self.network)
                .with_cmd(server.command)
                .with_ready_conditions(vec![WaitFor::message_on_stderr(ContainerServer::READY)])
                .with_startup_timeout(READY_LIMIT);
        for (name, value) in server.environment {
            request = request.with_env_var(name, value);
        }
        for file in server.files {
            request = request.with_copy_to(file.path, file.contents.into_bytes());
        }
        let container = request.start().await.map_err(|error| error.to_string())?;
        // Its name in the network is RDS's; testcontainers knows no aliases.
        let id = container.id().to_owned();
        try_docker(&["network", "disconnect", &self.network, &id], "").await?;
        try_docker(&["network", "connect", "--alias", &server.endpoint, &self.network, &id], "").await?;
        lock(&self.running).insert(server.identifier, container);
        Ok(())
    }
}

impl sandbox::Containers for Servers {
    fn start(&self, server: ContainerServer) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(self.run(server))
    }

    fn execute(&self, identifier: &str, sql: String) -> BoxFuture<'_, Result<(), String>> {
        let id = lock(&self.running).get(identifier).map(|server| server.id().to_owned()).unwrap_or_default();
        Box::pin(async move {
            let mut args = vec!["exec", "--interactive", &id];
            args.extend(ContainerServer::PSQL);
            try_docker(&args, &sql).await.map(drop)
        })
    }

    fn remove(&self, identifier: &str) -> BoxFuture<'_, Result<(), String>> {
        let removed = lock(&self.running).remove(identifier);
        Box::pin(async move {
            match removed {
                Some(server) => server.rm().await.map_err(|error| error.to_string()),
                None => Ok(()),
            }
        })
    }
}

/// What the gateway tells of instances.
struct Orders(mpsc::UnboundedSender<Order>);

enum Order {
    Boot(String),
    Halt(String),
}

impl Machines for Orders {
    fn boot(&self, instance_id: &str) {
        // The receiver lives as long as the containers do.
        self.0.send(Order::Boot(instance_id.to_owned())).ok();
    }

    fn halt(&self, instance_id: &str) {
        self.0.send(Order::Halt(instance_id.to_owned())).ok();
    }
}

/// What an agent in a container is told.
struct AgentSettings {
    gateway: String,
    secret: String,
    program: PathBuf,
}

/// The containers of instances, by instance.
type Running = HashMap<String, ContainerAsync<GenericImage>>;

/// One container for each EC2 instance that runs.
struct Bastions {
    running: Arc<Mutex<Running>>,
    task: JoinHandle<()>,
}

impl Bastions {
    fn serve(
        images: Images,
        networks: [String; 2],
        settings: AgentSettings,
        mut orders: mpsc::UnboundedReceiver<Order>,
    ) -> Bastions {
        let running = Arc::<Mutex<Running>>::default();
        let shared = running.clone();
        let task = tokio::spawn(async move {
            while let Some(order) = orders.recv().await {
                match order {
                    Order::Boot(instance) => {
                        let container = boot(&images, &networks, &settings, &instance).await;
                        lock(&shared).insert(instance, container);
                    }
                    Order::Halt(instance) => {
                        let container = lock(&shared).remove(&instance);
                        if let Some(container) = container {
                            container.rm().await.expect("a bastion can be removed");
                        }
                    }
                }
            }
        });
        Bastions { running, task }
    }

    fn ids(&self) -> Vec<String> {
        lock(&self.running).values().map(|bastion| bastion.id().to_owned()).collect()
    }

    async fn stop(self) {
        self.task.abort();
        // It may have been in the middle of a boot.
        drop(self.task.await);
        let left = std::mem::take(&mut *lock(&self.running));
        for bastion in left.into_values() {
            bastion.rm().await.expect("a bastion can be removed");
        }
    }
}

/// Starts an agent in a container on both networks.
async fn boot(
    images: &Images,
    [edge, private]: &[String; 2],
    settings: &AgentSettings,
    instance: &str,
) -> ContainerAsync<GenericImage> {
    let image = GenericImage::new(images.agent.name.clone(), images.agent.tag.clone())
        .with_entrypoint("/drawbridge-agent");
    let program = CopyTargetOptions::new("/drawbridge-agent").with_mode(0o755);
    let container = of(image, &images.agent, images, "bastion", private)
        .with_env_var("DRAWBRIDGE_AGENT_GATEWAY", &settings.gateway)
        .with_env_var("DRAWBRIDGE_AGENT_INSTANCE", instance)
        .with_env_var("DRAWBRIDGE_AGENT_SECRET", &settings.secret)
        .with_env_var("DRAWBRIDGE_AGENT_PACING", "unlimited")
        .with_copy_to(program, CopyDataSource::File(settings.program.clone()))
        .start()
        .await
        .expect("a bastion starts");
    docker(&["network", "connect", edge, container.id()]).await;
    container
}

/// Returns the agent that `cargo xtask test` built beside this test.
fn agent_program() -> PathBuf {
    let program = crate::target().join("drawbridge-agent");
    assert!(program.is_file(), "`cargo xtask test` builds {}", program.display());
    program
}

/// Returns the host's own address in a network.
async fn bridge_address(network: &str) -> IpAddr {
    let told =
        docker(&["network", "inspect", network, "--format", "{{(index .IPAM.Config 0).Gateway}}"]).await;
    told.parse().expect("a bridge has an address")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
