//! PostgreSQL in containers that only the private network reaches.

use std::collections::HashMap;
use std::sync::Mutex;

use futures_util::future::BoxFuture;
use sandbox::ContainerServer;
use testcontainers_modules::postgres::Postgres;
use testcontainers_modules::testcontainers::core::WaitFor;
use testcontainers_modules::testcontainers::runners::AsyncRunner;
use testcontainers_modules::testcontainers::{ContainerAsync, ImageExt};

use super::docker::{Images, READY_LIMIT, docker, lock, of, try_docker};

/// The servers behind RDS instances.
pub(super) struct Servers {
    images: Images,
    network: String,
    running: Mutex<HashMap<String, Running>>,
}

struct Running {
    container: ContainerAsync<Postgres>,
    endpoint: String,
}

impl Servers {
    pub(super) fn new(images: Images, network: String) -> Servers {
        Servers { images, network, running: Mutex::default() }
    }

    pub(super) fn ids(&self) -> Vec<String> {
        lock(&self.running).values().map(|server| server.container.id().to_owned()).collect()
    }

    /// Waits until a server that was started again has replayed its log.
    pub(super) async fn wait_until_ready(&self, id: &str) {
        let mut args = vec!["exec", "--interactive", id];
        args.extend(ContainerServer::PSQL);
        let ready = async { while try_docker(&args, "SELECT 1").await.is_err() {} };
        tokio::time::timeout(READY_LIMIT, ready).await.expect("a server starts again");
    }

    /// Takes every server off its network.
    pub(super) async fn cut_off(&self) {
        for id in self.ids() {
            docker(&["network", "disconnect", &self.network, &id]).await;
        }
    }

    /// Puts every server back on its network.
    pub(super) async fn join(&self) {
        let servers: Vec<(String, String)> = lock(&self.running)
            .values()
            .map(|server| (server.container.id().to_owned(), server.endpoint.clone()))
            .collect();
        for (id, endpoint) in servers {
            docker(&["network", "connect", "--alias", &endpoint, &self.network, &id]).await;
        }
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
        let running = Running { container, endpoint: server.endpoint };
        lock(&self.running).insert(server.identifier, running);
        Ok(())
    }
}

impl sandbox::Containers for Servers {
    fn start(&self, server: ContainerServer) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(self.run(server))
    }

    fn execute(&self, identifier: &str, sql: String) -> BoxFuture<'_, Result<(), String>> {
        let id = lock(&self.running).get(identifier).map(|server| server.container.id().to_owned());
        Box::pin(async move {
            let id = id.ok_or("there is no such server")?;
            let mut args = vec!["exec", "--interactive", &id];
            args.extend(ContainerServer::PSQL);
            try_docker(&args, &sql).await.map(drop)
        })
    }

    fn remove(&self, identifier: &str) -> BoxFuture<'_, Result<(), String>> {
        let removed = lock(&self.running).remove(identifier);
        Box::pin(async move {
            match removed {
                Some(server) => server.container.rm().await.map_err(|error| error.to_string()),
                None => Ok(()),
            }
        })
    }
}
