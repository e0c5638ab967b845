//! Whole sandboxes: their starts, their ends, and what is left.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may panic anywhere, and tells how long things took"
)]

#[path = "support/cluster.rs"]
mod cluster;
mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use sandbox::gateway::{DatabaseSpec, Key, Password, Unsigned};
use sandbox::{DatabaseMode, Moto, MotoSource, Options, Sandbox, detached};
use support::{cache, folder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn options(dir: &Path) -> Options {
    let mut options = Options::new(dir, cache());
    options.progress = std::sync::Arc::new(|line| println!("{line}"));
    options
}

/// Returns the status line of the answer to one request that nobody has signed.
async fn get(endpoint: &str, path: &str) -> String {
    ask(endpoint, path, &[]).await
}

/// Returns the status line of the answer to one request with the key of that environment.
async fn get_with_key(environment: &[(String, String)], path: &str) -> String {
    let value = |name: &str| environment.iter().find(|(known, _)| known == name).unwrap().1.clone();
    let endpoint = value("AWS_ENDPOINT_URL");
    let key = Key::new(value("AWS_ACCESS_KEY_ID"), Password::new(value("AWS_SECRET_ACCESS_KEY")));
    let headers = [("x-drawbridge-control", "1")];
    let signed = key.sign(&Unsigned {
        method: hyper::Method::GET,
        host: endpoint.strip_prefix("http://").unwrap(),
        path,
        service: "drawbridge",
        region: "us-east-1",
        headers: &headers,
        body: b"",
    });
    let own = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    ask(&endpoint, path, &own.chain(signed).collect::<Vec<_>>()).await
}

async fn ask(endpoint: &str, path: &str, headers: &[(String, String)]) -> String {
    let address = endpoint.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.lines().next().unwrap().to_owned()
}

/// Returns the processes whose command line or working directory names the folder.
fn processes(dir: &Path) -> BTreeSet<u32> {
    let needle = dir.to_str().unwrap();
    let is_ours = |pid: &u32| {
        let cwd = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
        let argv = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        cwd.starts_with(dir) || String::from_utf8_lossy(&argv).contains(needle)
    };
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| *pid != std::process::id()).filter(is_ours).collect()
}

#[tokio::test]
async fn moto_starts_on_its_own_port_and_ends() {
    let dir = folder();
    let source = MotoSource::Python(support::runtime());
    let start = Instant::now();
    let moto = Moto::start(&source, dir.path()).await.unwrap();
    println!("moto answered after {:?}", start.elapsed());
    let address = moto.address();
    for garbage in ["\r\n\r\n", "GET / HTTP/1.1\r\nContent-Length: many\r\n\r\n", "\0\r\n\r\n"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(garbage.as_bytes()).await.unwrap();
        // Its own connection ends, in whichever way, and no other.
        drop(stream.read_to_end(&mut Vec::new()).await);
    }
    // Alive, and closed to who does not have the key.
    assert!(get(&format!("http://{address}"), "/moto-api/").await.contains("403"));
    let wrong = [("x-drawbridge-key".to_owned(), "0".repeat(64))];
    assert!(ask(&format!("http://{address}"), "/moto-api/", &wrong).await.contains("403"));
    moto.stop().await;
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn two_sandboxes_run_side_by_side_and_leave_only_logs() {
    let (one, two) = (folder(), folder());
    let start = Instant::now();
    let (first, second) =
        tokio::join!(Sandbox::start(options(one.path())), Sandbox::start(options(two.path())));
    let (first, second) = (first.unwrap(), second.unwrap());
    println!("two sandboxes were ready after {:?}", start.elapsed());
    assert_ne!(first.endpoint(), second.endpoint());
    for sandbox in [&first, &second] {
        assert!(get_with_key(&sandbox.environment(), "/_drawbridge/health").await.contains("200"));
        assert!(get(&sandbox.endpoint(), "/_drawbridge/health").await.contains("403"));
        assert!(sandbox.ca_file().is_file());
    }
    let taken = Sandbox::start(options(one.path())).await.unwrap_err();
    assert!(taken.to_string().contains("already"), "{taken}");

    first.stop().await.unwrap();
    assert!(get_with_key(&second.environment(), "/_drawbridge/health").await.contains("200"));
    second.stop().await.unwrap();
    for dir in [&one, &two] {
        assert_eq!(processes(dir.path()), BTreeSet::new());
        let left: BTreeSet<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        let expected = ["moto.log", "rds-ca.pem", "sandbox.lock"].map(Into::into);
        assert_eq!(left, BTreeSet::from(expected));
    }
}

#[tokio::test]
async fn the_environment_names_the_endpoint_and_the_certificate() {
    let dir = folder();
    let mut options = options(dir.path());
    options.databases = DatabaseMode::ControlPlaneOnly;
    let sandbox = Sandbox::start(options).await.unwrap();
    let environment: std::collections::BTreeMap<_, _> = sandbox.environment().into_iter().collect();
    assert_eq!(environment["AWS_ENDPOINT_URL"], sandbox.endpoint());
    assert_eq!(environment["AWS_REGION"], "us-east-1");
    let pem = std::fs::read_to_string(&environment["DRAWBRIDGE_CA_BUNDLE"]).unwrap();
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----"));
    sandbox.stop().await.unwrap();
}

/// A sandbox with a cluster, in a process that the tests below start and kill.
#[tokio::test]
#[ignore = "runs only as a child of other tests"]
async fn a_process_to_be_killed() {
    let dir = std::env::var_os("SANDBOX_TEST_DIR").unwrap();
    let dir = Path::new(&dir);
    let server = sandbox::ClusterServer::Programs { programs: cluster::programs(dir, 16), cache: cache() };
    let _cluster = sandbox::Cluster::start(&server, cluster::spec(dir)).await.unwrap();
    let options = Options { databases: DatabaseMode::ControlPlaneOnly, ..options(dir) };
    detached::serve_until_signal(options).await.unwrap();
}

fn spawn_victim(dir: &Path) -> std::process::Child {
    victim(dir).spawn().unwrap()
}

fn victim(dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "a_process_to_be_killed", "--ignored", "--nocapture"])
        .env("SANDBOX_TEST_DIR", dir)
        // An original of its own, which goes with it.
        .env_remove("DRAWBRIDGE_TEST_MOTO")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

async fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let limit = Instant::now() + support::LIMIT;
    while !condition() {
        assert!(Instant::now() < limit, "never happened: {what}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// Returns the processes below that one, whatever they did to their sessions and groups.
fn descendants(of: u32) -> BTreeSet<u32> {
    let mut found = BTreeSet::from([of]);
    loop {
        let before = found.len();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
            let parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
            if parent.is_some_and(|parent: u32| found.contains(&parent)) {
                found.insert(pid);
            }
        }
        if found.len() == before {
            found.remove(&of);
            return found;
        }
    }
}

fn is_running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

#[tokio::test]
async fn nothing_survives_a_killed_parent() {
    let dir = folder();
    let mut victim = spawn_victim(dir.path());
    wait_until("the sandbox is ready", || detached::find(dir.path()).is_some()).await;
    let children = descendants(victim.id());
    // At the least moto, the wrapper, its watcher, the server and the server's own processes.
    assert!(children.len() > 5, "{children:?}");
    victim.kill().unwrap();
    victim.wait().unwrap();
    wait_until("the children are gone", || !children.iter().any(|pid| is_running(*pid))).await;
    assert_eq!(detached::find(dir.path()), None);
    // What the dead one left does not hinder the next.
    assert_eq!(detached::stop(dir.path()).unwrap(), None);
    let mut options = options(dir.path());
    options.databases = DatabaseMode::ControlPlaneOnly;
    Sandbox::start(options).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn processes_share_one_original_of_moto_and_each_ends_its_own_servers_alone() {
    let (shared, one, two) = (folder(), folder(), folder());
    let start = |dir: &Path| {
        victim(dir).env("DRAWBRIDGE_TEST_MOTO", shared.path().join("moto.sock")).spawn().unwrap()
    };
    let (mut first, mut second) = (start(one.path()), start(two.path()));
    for dir in [&one, &two] {
        wait_until("the sandbox is ready", || detached::find(dir.path()).is_some()).await;
    }
    // The original and two copies, in whose command lines the socket is.
    let count = || processes(shared.path()).len();
    wait_until("there are three of them", || count() == 3).await;
    first.kill().unwrap();
    first.wait().unwrap();
    wait_until("its server is gone, and no other", || count() == 2).await;
    let left = detached::find(two.path()).unwrap();
    assert!(get_with_key(&left.environment, "/moto-api/").await.contains("200"));
    second.kill().unwrap();
    second.wait().unwrap();
    wait_until("the original alone is left", || count() == 1).await;
    std::fs::remove_file(shared.path().join("moto.sock")).unwrap();
    wait_until("nobody can come any more, and it ends", || count() == 0).await;
}

#[tokio::test]
async fn a_detached_sandbox_is_found_and_stopped_by_its_folder() {
    let dir = folder();
    assert_eq!(detached::find(dir.path()), None);
    let mut victim = spawn_victim(dir.path());
    let pid = i32::try_from(victim.id()).unwrap();
    wait_until("the sandbox is ready", || detached::find(dir.path()).is_some()).await;
    let found = detached::find(dir.path()).unwrap();
    assert_eq!(found.pid, pid);
    assert!(
        found.environment.iter().any(|(name, value)| name == "AWS_ENDPOINT_URL" && *value == found.endpoint)
    );
    let mode =
        std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(dir.path().join("sandbox.json")).unwrap());
    assert_eq!(mode & 0o777, 0o600);

    let children = descendants(victim.id());
    let reaped = std::thread::spawn(move || victim.wait().unwrap());
    let path = dir.path().to_owned();
    let stopped = tokio::task::spawn_blocking(move || detached::stop(&path)).await.unwrap().unwrap();
    assert_eq!(stopped, Some(pid));
    assert!(reaped.join().unwrap().success());
    wait_until("the children are gone", || !children.iter().any(|pid| is_running(*pid))).await;
    assert!(!dir.path().join("sandbox.json").exists());
}

/// A sandbox that was killed leaves its file, and its port to whoever comes next.
#[tokio::test]
async fn who_answers_in_a_sandbox_s_place_is_not_taken_for_it() {
    let (dir, listener) = (folder(), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let key = Key::random();
    let running = serde_json::json!({
        "pid": std::process::id(),
        "endpoint": endpoint,
        "environment": [["AWS_ACCESS_KEY_ID", key.id()], ["AWS_SECRET_ACCESS_KEY", key.secret().expose()]],
        "started_at": "2026-11-30T12:00:00Z",
    });
    std::fs::write(dir.path().join("sandbox.json"), running.to_string()).unwrap();
    let impostor = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = vec![0; 4096];
        let length = stream.read(&mut request).unwrap();
        let proof = "x-drawbridge-proof: 0000\r\n";
        stream.write_all(format!("HTTP/1.0 200 OK\r\n{proof}Content-Length: 0\r\n\r\n").as_bytes()).unwrap();
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    let path = dir.path().to_owned();
    assert_eq!(tokio::task::spawn_blocking(move || detached::find(&path)).await.unwrap(), None);
    let told = impostor.join().unwrap();
    assert!(told.contains("Signature=") && !told.contains(key.secret().expose()), "{told}");
}

#[tokio::test]
async fn a_start_that_is_given_up_leaves_no_server() {
    let dir = folder();
    let programs = cluster::programs(dir.path(), 16);
    let server = sandbox::ClusterServer::Programs { programs, cache: cache() };
    // Somewhere in there, the server exists and does not listen to signals yet.
    for millis in (0..200).step_by(20) {
        let limit = std::time::Duration::from_millis(millis);
        drop(tokio::time::timeout(limit, sandbox::Cluster::start(&server, cluster::spec(dir.path()))).await);
        wait_until("the server is gone", || processes(&dir.path().join("cluster")).is_empty()).await;
    }
}

#[tokio::test]
async fn a_database_lives_as_long_as_its_instance() {
    let dir = folder();
    let sandbox = Sandbox::start(options(dir.path())).await.unwrap();
    let databases = sandbox.databases().unwrap();
    let spec = DatabaseSpec {
        identifier: "main".to_owned(),
        endpoint: cluster::ENDPOINT.to_owned(),
        port: 5432,
        engine_version: "16.9".to_owned(),
        master_user: "master".to_owned(),
        master_password: Password::new(cluster::PASSWORD),
        database_name: None,
    };
    let start = Instant::now();
    databases.create(spec.clone()).await.unwrap();
    println!("a database was there after {:?}", start.elapsed());
    assert!(dir.path().join("postgres/main/data/postmaster.pid").exists());
    databases.set_password("main", "master", Password::new("another")).await.unwrap();
    assert!(databases.set_password("other", "master", Password::new("another")).await.is_err());
    databases.delete("main").await.unwrap();
    databases.delete("main").await.unwrap();
    assert_eq!(processes(&dir.path().join("postgres")), BTreeSet::new());

    databases.create(spec).await.unwrap();
    sandbox.stop().await.unwrap();
    assert_eq!(processes(&dir.path().join("postgres")), BTreeSet::new());
    assert!(!dir.path().join("postgres/main").exists());
}
