//! Bastions: our agent in containers on both networks.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sandbox::gateway::Machines;
use testcontainers_modules::testcontainers::core::CopyDataSource;
use testcontainers_modules::testcontainers::runners::AsyncRunner;
use testcontainers_modules::testcontainers::{ContainerAsync, CopyTargetOptions, GenericImage, ImageExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::docker::{Images, docker, lock, of};

/// What the gateway tells of instances.
pub(super) struct Orders(mpsc::UnboundedSender<Order>);

impl Orders {
    /// Returns who tells, and what is told.
    pub(super) fn channel() -> (Orders, mpsc::UnboundedReceiver<Order>) {
        let (told, orders) = mpsc::unbounded_channel();
        (Orders(told), orders)
    }
}

pub(super) enum Order {
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
pub(super) struct AgentSettings {
    pub(super) gateway: String,
    pub(super) secret: String,
}

/// How good the agent's line to its clients is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Line {
    /// The share of frames that are lost, 0 to 1.
    pub loss: f64,
    /// The most that a frame is held up.
    pub jitter: Duration,
}

/// The containers of instances, by instance.
type Running = HashMap<String, ContainerAsync<GenericImage>>;

/// One container for each EC2 instance that runs.
pub(super) struct Bastions {
    running: Arc<Mutex<Running>>,
    line: Arc<Mutex<Line>>,
    task: JoinHandle<()>,
}

impl Bastions {
    pub(super) fn serve(
        images: Images,
        networks: [String; 2],
        settings: AgentSettings,
        mut orders: mpsc::UnboundedReceiver<Order>,
    ) -> Bastions {
        let running = Arc::<Mutex<Running>>::default();
        let line = Arc::<Mutex<Line>>::default();
        let (shared, at_boot) = (running.clone(), line.clone());
        let task = tokio::spawn(async move {
            while let Some(order) = orders.recv().await {
                match order {
                    Order::Boot(instance) => {
                        let line = *lock(&at_boot);
                        let container = boot(&images, &networks, &settings, line, &instance).await;
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
        Bastions { running, line, task }
    }

    /// Gives agents that line from their next boot on.
    pub(super) fn set_line(&self, line: Line) {
        *lock(&self.line) = line;
    }

    pub(super) fn ids(&self) -> Vec<String> {
        lock(&self.running).values().map(|bastion| bastion.id().to_owned()).collect()
    }

    pub(super) async fn stop(self) {
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
///
/// The network of the gateway comes first and has the default route: an agent that connects by another, while that is
/// being joined, talks from an address to which no answer finds its way. It starts once it has both.
async fn boot(
    images: &Images,
    [edge, private]: &[String; 2],
    settings: &AgentSettings,
    line: Line,
    instance: &str,
) -> ContainerAsync<GenericImage> {
    let image = GenericImage::new(images.agent.name.clone(), images.agent.tag.clone()).with_entrypoint("sh");
    let program = CopyTargetOptions::new("/drawbridge-agent").with_mode(0o755);
    let container = of(image, &images.agent, images, "bastion", edge)
        .with_cmd(["-c", AGENT])
        .with_env_var("DRAWBRIDGE_AGENT_GATEWAY", &settings.gateway)
        .with_env_var("DRAWBRIDGE_AGENT_INSTANCE", instance)
        .with_env_var("DRAWBRIDGE_AGENT_SECRET", &settings.secret)
        .with_env_var("DRAWBRIDGE_AGENT_PACING", "unlimited")
        // A target that is cut off is given up after ten seconds, not after the two and a half minutes of real agents.
        .with_env_var("DRAWBRIDGE_AGENT_KEEP_ALIVE", "1")
        .with_env_var("DRAWBRIDGE_AGENT_LOSS", line.loss.to_string())
        .with_env_var("DRAWBRIDGE_AGENT_JITTER", line.jitter.as_millis().to_string())
        .with_cap_add("NET_ADMIN")
        .with_copy_to(program, CopyDataSource::File(agent_program()))
        .start()
        .await
        .expect("a bastion starts");
    docker(&["network", "connect", private, container.id()]).await;
    container
}

const AGENT: &str = "until [ -e /sys/class/net/eth1 ]; do sleep 0.05; done; exec /drawbridge-agent";

/// Returns the agent that `cargo xtask test` built beside this test.
fn agent_program() -> PathBuf {
    let program = crate::target().join("drawbridge-agent");
    assert!(program.is_file(), "`cargo xtask test` builds {}", program.display());
    program
}

/// Makes the container's networks as slow as a bad link, with what the host's kernel has for that, and says what it was.
pub(super) async fn slow_down(id: &str) -> String {
    docker(&["exec", id, "sh", "-ec", SLOW]).await
}

/// Images that can be pulled may lack `tc`, but can install it.
const SLOW: &str = r#"
command -v tc >/dev/null || { apt-get update; apt-get install --yes iproute2; } >/dev/null 2>&1
for device in $(ls /sys/class/net); do
    [ "$device" = lo ] && continue
    tc qdisc replace dev "$device" root netem delay 60ms 20ms loss 1% rate 512kbit 2>/dev/null ||
        tc qdisc replace dev "$device" root tbf rate 256kbit burst 2kb latency 100ms
    tc qdisc show dev "$device"
done
"#;
