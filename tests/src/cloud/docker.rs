//! What all containers share: images, names and labels; and Docker where testcontainers does not reach: networks, aliases,
//! the death of a container.

use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use testcontainers_modules::testcontainers::{ContainerRequest, ImageExt};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// The images that `cargo xtask test` found or built.
#[derive(Clone, Debug)]
pub struct Images {
    pub(crate) localstack: Image,
    pub(crate) moto: Image,
    pub(crate) postgres: Image,
    pub(crate) bastion: Image,
    pub(crate) agent: Image,
    /// What every container and network is labelled with, so that nothing can be left behind.
    pub(crate) run: String,
}

/// A name, and the tag or digest behind it.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) name: String,
    pub(crate) tag: String,
}

/// The label by which `cargo xtask test` finds what is left.
pub(crate) const LABEL: &str = "drawbridge.run";

impl Images {
    /// Returns the images; `None` where the tests are run without containers, which is said.
    ///
    /// # Panics
    /// There are none where `CI` is set.
    pub fn find() -> Option<Images> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let image = |name: &str| {
            let reference = variable(name)?;
            let (name, tag) = reference.rsplit_once(':')?;
            Some(Image { name: name.to_owned(), tag: tag.to_owned() })
        };
        let images = || {
            Some(Images {
                localstack: image("DRAWBRIDGE_IMAGE_LOCALSTACK")?,
                moto: image("DRAWBRIDGE_IMAGE_MOTO")?,
                postgres: image("DRAWBRIDGE_IMAGE_POSTGRES")?,
                bastion: image("DRAWBRIDGE_IMAGE_BASTION")?,
                agent: image("DRAWBRIDGE_IMAGE_AGENT")?,
                run: variable("DRAWBRIDGE_TEST_RUN")?,
            })
        };
        let images = images();
        if images.is_none() {
            crate::skip(
                "there are no container images; `cargo xtask test` gets or builds them where Docker is",
            );
        }
        images
    }

    /// Returns a name that no other test has.
    pub(crate) fn name(&self, what: &str) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        format!("drawbridge-{}-{}-{number}-{what}", self.run, std::process::id())
    }

    /// Makes a network; ports of its containers are published on the loopback address alone.
    pub(crate) async fn network(&self, what: &str, options: &[&str]) -> String {
        let (name, label) = (self.name(what), format!("{LABEL}={}", self.run));
        let mut args = vec!["network", "create", "--label", &label];
        args.extend(["--opt", "com.docker.network.bridge.host_binding_ipv4=127.0.0.1"]);
        args.extend(options);
        args.push(&name);
        docker(&args).await;
        name
    }
}

/// How long a container may take until it is ready.
pub(super) const READY_LIMIT: Duration = Duration::from_secs(120);

/// Labels, names and places a container.
pub(super) fn of<I: testcontainers_modules::testcontainers::Image>(
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

/// Locks, even after a test panicked while it held the lock.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `docker` and returns what it printed.
///
/// # Panics
/// It fails.
pub(crate) async fn docker(args: &[&str]) -> String {
    try_docker(args, "").await.unwrap_or_else(|error| panic!("docker {args:?}: {error}"))
}

/// Runs `docker` with that on its standard input.
pub(crate) async fn try_docker(args: &[&str], input: &str) -> Result<String, String> {
    tokio::time::timeout(DOCKER_LIMIT, ended(args, input))
        .await
        .unwrap_or_else(|_| Err(format!("it did not end within {DOCKER_LIMIT:?}")))
}

/// The longest that is waited for are packages that an image without an init installs.
const DOCKER_LIMIT: Duration = Duration::from_secs(600);

async fn ended(args: &[&str], input: &str) -> Result<String, String> {
    let mut command = Command::new("docker");
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let mut stdin = child.stdin.take().expect("it is piped");
    // One that has ended already says why on its own.
    drop(stdin.write_all(input.as_bytes()).await);
    drop(stdin);
    let output = child.wait_with_output().await.map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}
