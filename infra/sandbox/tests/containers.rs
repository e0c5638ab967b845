//! Databases in containers: what is asked of whoever runs the containers, and when.

#![expect(clippy::unwrap_used, reason = "a test may panic anywhere")]

use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use sandbox::gateway::{DatabaseSpec, Databases, Password};
use sandbox::{Authority, ContainerDatabases, ContainerServer, Containers, KeyKind};
use tokio::sync::Notify;

const ENDPOINT: &str = "main.c0ffee.us-east-1.rds.amazonaws.com";
const PASSWORD: &str = "correct-horse";

/// Keeps what it is asked for; starts only when it is let.
#[derive(Default)]
struct Recorder {
    told: Mutex<Vec<String>>,
    servers: Mutex<Vec<ContainerServer>>,
    let_start: Notify,
    refuses: bool,
}

impl Recorder {
    fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }

    fn note(&self, line: String) {
        self.told.lock().unwrap().push(line);
    }
}

impl Containers for Recorder {
    fn start(&self, server: ContainerServer) -> BoxFuture<'_, Result<(), String>> {
        self.note(format!("start {}", server.identifier));
        self.servers.lock().unwrap().push(server);
        Box::pin(async {
            self.let_start.notified().await;
            if self.refuses { Err("no such image".to_owned()) } else { Ok(()) }
        })
    }

    fn execute(&self, identifier: &str, sql: String) -> BoxFuture<'_, Result<(), String>> {
        self.note(format!("execute {identifier} {sql}"));
        Box::pin(async { Ok(()) })
    }

    fn remove(&self, identifier: &str) -> BoxFuture<'_, Result<(), String>> {
        self.note(format!("remove {identifier}"));
        Box::pin(async { Ok(()) })
    }
}

fn databases(recorder: Recorder) -> (Arc<Recorder>, ContainerDatabases) {
    let recorder = Arc::new(recorder);
    let authority = Authority::new(KeyKind::Ecc384).unwrap();
    (Arc::clone(&recorder), ContainerDatabases::new(authority, recorder))
}

fn spec() -> DatabaseSpec {
    DatabaseSpec {
        identifier: "main".to_owned(),
        endpoint: ENDPOINT.to_owned(),
        port: 5433,
        engine_version: "17.6".to_owned(),
        master_user: "mas\"ter".to_owned(),
        master_password: Password::new(PASSWORD),
        database_name: Some("first".to_owned()),
    }
}

#[tokio::test]
async fn a_container_gets_its_certificate_and_a_master_user_that_is_no_superuser() {
    let (recorder, databases) = databases(Recorder::default());
    recorder.let_start.notify_one();
    databases.create(spec()).await.unwrap();
    databases.set_password("main", "mas\"ter", Password::new("battery-staple")).await.unwrap();

    let told = recorder.told();
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(told[0], "start main");
    assert!(
        told[1].starts_with("execute main CREATE ROLE \"mas\"\"ter\" LOGIN CREATEDB CREATEROLE PASSWORD")
    );
    assert!(told[1].contains("'SCRAM-SHA-256$") && !told[1].contains("SUPERUSER"));
    assert!(told[1].ends_with("CREATE DATABASE \"first\" OWNER \"mas\"\"ter\";\n"));
    assert!(told[2].starts_with("execute main ALTER ROLE \"mas\"\"ter\" PASSWORD 'SCRAM-SHA-256$"));

    let server = recorder.servers.lock().unwrap().remove(0);
    let everything = format!("{told:?} {:?} {:?}", server.environment, server.command);
    for secret in [PASSWORD, "battery-staple", "PRIVATE KEY"] {
        assert!(!everything.contains(secret), "{secret}");
        assert!(!format!("{server:?}").contains(secret), "{secret}");
    }
    let paths: Vec<_> = server.files.iter().map(|file| file.path).collect();
    assert_eq!(paths, ["/drawbridge/server.crt", "/drawbridge/server.key"]);
    assert!(server.files[0].contents.starts_with("-----BEGIN CERTIFICATE-----"));
    assert!(server.files[1].contents.starts_with("-----BEGIN PRIVATE KEY-----"));
    let (_, settings) = server.environment.iter().find(|(name, _)| name == "SETTINGS").unwrap();
    // Of two lines the later holds.
    for (name, value) in
        [("listen_addresses", "'*'"), ("ssl", "on"), ("port", "5433"), ("synchronous_commit", "on")]
    {
        let line = settings.lines().rev().find(|line| line.starts_with(&format!("{name} = ")));
        assert_eq!(line, Some(format!("{name} = {value}").as_str()));
    }
}

#[tokio::test]
async fn a_deletion_waits_for_the_creation() {
    let (recorder, databases) = databases(Recorder::default());
    let mut creation = Box::pin(databases.create(spec()));
    while recorder.told().is_empty() {
        assert!(futures_util::poll!(&mut creation).is_pending());
    }
    let mut deletion = Box::pin(databases.delete("main"));
    assert!(futures_util::poll!(&mut deletion).is_pending());
    recorder.let_start.notify_one();
    creation.await.unwrap();
    deletion.await.unwrap();
    let told = recorder.told();
    assert_eq!((told.len(), told[2].as_str()), (3, "remove main"), "{told:?}");
    databases.delete("main").await.unwrap();
    databases.stop().await.unwrap();
    assert_eq!(recorder.told().len(), 3, "it is gone already");
}

#[tokio::test]
async fn what_did_not_start_is_removed_all_the_same() {
    let (recorder, databases) = databases(Recorder { refuses: true, ..Recorder::default() });
    recorder.let_start.notify_one();
    assert_eq!(databases.create(spec()).await.unwrap_err(), "no such image");
    databases.stop().await.unwrap();
    assert_eq!(recorder.told(), ["start main", "remove main"]);
    let nobody = databases.set_password("main", "master", Password::new(PASSWORD)).await.unwrap_err();
    assert_eq!(nobody, "no database `main` runs");
}
