//! The whole job through the program, as a user types it, on a sandbox with a real PostgreSQL behind it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sandbox::KeyKind;
use sandbox::gateway::{Fault, FaultKind};
use tests::{Fixture, LIMIT, Ran, Running, Want};

const TENANTS: [&str; 3] = ["startupwebapp_prod", "healthtech_experiment", "fintech_experiment"];

/// Everything that one run printed.
struct Transcript<'a> {
    fixture: &'a Fixture,
    text: String,
}

impl Transcript<'_> {
    async fn run(&mut self, args: &[&str], code: i32) -> Ran {
        let ran = self.fixture.run(args).await.expect(code);
        self.text.push_str(&ran.stdout);
        self.text.push_str(&ran.stderr);
        ran
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_job_task_by_task_and_no_secret_is_shown() {
    // The kind that RDS gives whoever does not choose.
    let fixture = Fixture::start_custom(Want::Databases, |options| options.key = KeyKind::Rsa).await;
    whole_job(&fixture, async |_| ()).await;
    fixture.stop().await;
}

/// The job on any cloud, with a look at it when everything is up.
pub(crate) async fn whole_job(fixture: &Fixture, look: impl AsyncFnOnce(&Fixture)) {
    let watch = CommandLines::watch();
    let mut job = Transcript { fixture, text: String::new() };

    job.run(&["plan", "--check"], 8).await;
    job.run(&["status", "--check"], 8).await;
    job.run(&["up", "--yes", "--verbose"], 0).await;
    let again = job.run(&["up", "--yes", "--json"], 0).await.json();
    assert_eq!(again["steps"], 0, "a second `up` changes nothing: {}", again["plan"]);
    job.run(&["plan", "--check"], 0).await;

    job.run(&["tenant", "create", "--verbose"], 0).await;
    let again = job.run(&["tenant", "create", "--json"], 0).await.json();
    for tenant in list(&again["tenants"]) {
        assert_eq!(tenant["outcome"]["kind"], "unchanged", "{tenant}");
    }
    job.run(&["tenant", "list"], 0).await;

    let planned = job.run(&["migrate", "--plan", "--json"], 0).await.json();
    assert!(list(&planned["plans"][0]["pending"]).len() > 3);
    let file = &list(&planned["files"])[0];
    assert_eq!(
        (file["migration"].as_str(), file["tenants"].as_u64()),
        (Some("V1__create_accounts"), Some(3))
    );
    assert!(file["sql"].as_str().is_some_and(|sql| sql.contains("CREATE TABLE account")), "{file}");
    let migrated = job.run(&["migrate", "--json"], 0).await.json();
    for tenant in list(&migrated["tenants"]) {
        assert_eq!(tenant["outcome"]["kind"], "applied", "{tenant}");
    }
    let again = job.run(&["migrate", "--json"], 0).await.json();
    for tenant in list(&again["tenants"]) {
        assert_eq!(tenant["outcome"]["kind"], "up-to-date", "{tenant}");
    }

    let verified = job.run(&["tenant", "verify", "--json"], 0).await.json();
    for tenant in list(&verified["tenants"]) {
        for check in list(&tenant["checks"]) {
            assert_eq!(check["verdict"], "pass", "{check}");
        }
    }
    let status = job.run(&["status", "--check", "--json"], 0).await.json();
    assert_eq!(status["healthy"], true);
    job.run(&["resources", "--json"], 0).await;
    for task in ["status", "resources"] {
        // Into the folder whose files are looked through at the end.
        let page = fixture.cloud.dir().join(format!("{task}.html"));
        job.run(&[task, "--html", page.to_str().expect("it is text")], 0).await;
    }

    let tables = job.run(&["psql", TENANTS[0], "--", "-X", "-c", r"\dt"], 0).await.stdout;
    assert!(tables.contains("refinery_schema_history") && tables.contains(TENANTS[0]), "{tables}");
    let shell = ["exec", "--tenant", TENANTS[1], "--", "sh", "-c", "echo \"$PGDATABASE $PGSSLMODE\"; exit 7"];
    let ran = job.run(&shell, 7).await;
    assert_eq!(ran.stdout.trim(), format!("{} verify-full", TENANTS[1]));

    look(fixture).await;
    let secrets = secrets(fixture).await;
    job.run(&["down", "--yes", "--verbose"], 0).await;
    let audit = job.run(&["audit", "--json"], 0).await.json();
    assert_eq!(list(&audit["left"]).len(), 0);
    let roles = fixture.raw().iam("ListRoles", &[]).await;
    assert!(!roles.contains(&fixture.context.stack.role_name()), "{roles}");

    let mut seen = std::mem::take(&mut job.text);
    seen.push_str(&watch.stop());
    let shown = tests::files_with(fixture.cloud.dir(), secrets.iter().map(String::as_str));
    assert!(shown.is_empty(), "a secret is in {shown:?}");
    for secret in &secrets {
        assert!(
            !seen.contains(secret.as_str()),
            "a secret of {} characters is shown somewhere",
            secret.len()
        );
    }
}

/// Returns the elements of a list in a program's answer.
fn list(value: &serde_json::Value) -> &[serde_json::Value] {
    value.as_array().expect("it is a list")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_says_when_it_is_ready_and_ends_its_sessions() {
    let fixture = Fixture::start(Want::Databases).await;
    fixture.run(&["up", "--yes"]).await.expect(0);
    tunnel_of_two_sessions(&fixture).await;
    fixture.stop().await;
}

/// A tunnel as a program of its own, with two connections at the same time, on any cloud where a stack is up.
pub(crate) async fn tunnel_of_two_sessions(fixture: &Fixture) {
    use std::io::{Read, Write};
    let connect = |port: u16| -> std::io::Result<std::net::TcpStream> {
        let stream = std::net::TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(LIMIT))?;
        Ok(stream)
    };
    // `up` tries sessions too.
    let earlier = fixture.cloud.gateway().journal().len();
    let mut command = fixture.program(&["tunnel", "--port", "0", "--json"]);
    let tunnel = move || -> std::io::Result<_> {
        command.stderr(Stdio::piped());
        let mut tunnel = Running::start(command);
        let ready: serde_json::Value = serde_json::from_str(&tunnel.line())?;
        let port = ready["port"].as_u64().and_then(|port| port.try_into().ok()).expect("a port is told");
        // Both at the same time: each has a session of its own.
        let mut streams = [connect(port)?, connect(port)?];
        for stream in &mut streams {
            // PostgreSQL's SSLRequest; `S` is the server's own answer at the far end.
            stream.write_all(&[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f])?;
            let mut answer = [0];
            stream.read_exact(&mut answer)?;
            assert_eq!(answer, *b"S");
        }
        let mut stderr = tunnel.stderr().expect("it is piped");
        tunnel.signal("TERM");
        let ended = tunnel.ended();
        let mut said = String::new();
        stderr.read_to_string(&mut said)?;
        assert!(!said.contains("warning"), "an end that was asked for is nothing to warn of: {said}");
        Ok(ended)
    };
    let ended = tokio::task::spawn_blocking(tunnel).await.expect("no answer was wrong");
    assert!(ended.expect("it can be run").success(), "SIGTERM ends a tunnel in good order");
    let journal = fixture.cloud.gateway().journal();
    let started = journal[earlier..].iter().filter(|call| call.operation == "StartSession").count();
    assert_eq!((started, fixture.cloud.gateway().live_sessions()), (2, 0));
}

/// Says its name to whoever connects.
fn target(name: &'static [u8]) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // A client that has gone has heard enough.
            drop(std::io::Write::write_all(&mut stream, name));
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_run_leads_to_several_targets() {
    use std::io::Read;
    let fixture = Fixture::start(Want::ControlPlane).await;
    fixture.run(&["up", "--yes"]).await.expect(0);
    let (one, two) = (target(b"one"), format!("0:{}", target(b"two")));
    let command = fixture.program(&["tunnel", "--port", "0", "--to", &one, "--to", &two, "--json"]);
    let tunnel = tokio::task::spawn_blocking(move || {
        let tunnel = Running::start(command);
        for name in ["one", "two"] {
            let ready: serde_json::Value = serde_json::from_str(&tunnel.line()).unwrap();
            let port = u16::try_from(ready["port"].as_u64().unwrap()).unwrap();
            let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
            stream.set_read_timeout(Some(LIMIT)).unwrap();
            let mut heard = String::new();
            stream.read_to_string(&mut heard).unwrap();
            assert_eq!(heard, name);
        }
        tunnel.signal("TERM");
        tunnel.ended()
    });
    assert!(tunnel.await.unwrap().success());
    assert_eq!(fixture.cloud.gateway().live_sessions(), 0);
    // One that cannot be reached fails the run, and ends what was opened for the others.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let ran = fixture.run(&["tunnel", "--port", "0", "--to", &one, "--to", &closed]).await.expect(5);
    assert!(ran.stderr.contains(&format!("the tunnel does not reach {closed}")), "{}", ran.stderr);
    assert!(ran.stdout.is_empty(), "{}", ran.stdout);
    assert_eq!(fixture.cloud.gateway().live_sessions(), 0);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_ends_the_program_its_sessions_are_ended_first() {
    let fixture = Fixture::start(Want::ControlPlane).await;
    fixture.run(&["up", "--yes"]).await.expect(0);
    let target = target(b"hello");
    let gateway = fixture.cloud.gateway();
    for (signal, again, code) in
        [("HUP", None, 0), ("INT", None, 0), ("TERM", None, 0), ("INT", Some("INT"), 130)]
    {
        let command = fixture.program(&["tunnel", "--port", "0", "--to", &target, "--json"]);
        let tunnel = tokio::task::spawn_blocking(move || {
            let tunnel = Running::start(command);
            tunnel.line();
            tunnel
        });
        let tunnel = tunnel.await.unwrap();
        assert_eq!(gateway.live_sessions(), 1, "{signal}: it has a session from its start");
        if again.is_some() {
            // The second finds the program busy with the first for as long as it takes.
            let operation = Some("TerminateSession".to_owned());
            gateway.inject(Fault { service: None, operation, nth: 1, kind: FaultKind::Hold });
        }
        tunnel.signal(signal);
        if let Some(again) = again {
            let fired = tokio::time::timeout(LIMIT, gateway.wait_until_fired()).await;
            fired.expect("the first one has the session ended");
            tunnel.signal(again);
        }
        let ended = tokio::task::spawn_blocking(move || tunnel.ended()).await.unwrap();
        assert_eq!(ended.code(), Some(code), "{signal} {again:?}");
        assert_eq!(gateway.live_sessions(), 0, "{signal} {again:?}");
    }
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_is_left_to_the_command_and_sigterm_handed_on() {
    let fixture = Fixture::start(Want::Databases).await;
    fixture.run(&["up", "--yes"]).await.expect(0);
    // As a terminal does it: all of the group get SIGINT; and the command goes on, as psql would.
    let twice = "trap 'echo caught' INT; kill -INT $PPID; kill -INT $$; kill -INT $PPID; kill -INT $$; echo done; exit 3";
    let ran = fixture.run(&["exec", "--", "sh", "-c", twice]).await.expect(3);
    assert_eq!(ran.stdout, "caught\ncaught\ndone\n");
    let told = "trap 'echo told; exit 4' TERM; kill -TERM $PPID; while :; do sleep 0.05; done";
    let ran = fixture.run(&["exec", "--", "sh", "-c", told]).await.expect(4);
    assert_eq!(ran.stdout, "told\n");
    assert_eq!(fixture.cloud.gateway().live_sessions(), 0);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_is_taken_fails_before_any_session_is_started() {
    let fixture = Fixture::start(Want::ControlPlane).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let ran = fixture.run(&["tunnel", "--port", &port]).await.expect(5);
    assert!(ran.stderr.contains(&port) && ran.stderr.contains("--port 0"), "{}", ran.stderr);
    assert!(fixture.cloud.gateway().journal().is_empty(), "AWS was contacted");
    fixture.stop().await;
}

/// Returns every password of the stack.
async fn secrets(fixture: &Fixture) -> BTreeSet<String> {
    let (cloud, inventory) = fixture.context.observe().await.expect("the account can be observed");
    let mut secrets = BTreeSet::new();
    for entry in &inventory.secrets {
        let secret = aws::secret::get(&cloud, &fixture.context.stack, &entry.name).await;
        secrets.insert(secret.expect("a secret").expose().to_owned());
    }
    assert_eq!(secrets.len(), 1 + TENANTS.len(), "the master's and one for each tenant");
    secrets
}

/// Appends what is in the files under a folder, as far as it is text.
pub(crate) fn read_all(dir: &Path, seen: &mut String) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            read_all(&path, seen);
        } else if let Ok(bytes) = std::fs::read(&path) {
            seen.push_str(&String::from_utf8_lossy(&bytes));
        }
    }
}

/// Every command line that any process of this machine had while we watched.
struct CommandLines {
    stop: Arc<AtomicBool>,
    watcher: std::thread::JoinHandle<BTreeSet<String>>,
}

impl CommandLines {
    fn watch() -> CommandLines {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let watcher = std::thread::spawn(move || {
            let mut seen = BTreeSet::new();
            while !stopped.load(Ordering::Relaxed) {
                for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
                    if let Ok(line) = std::fs::read(entry.path().join("cmdline")) {
                        seen.insert(String::from_utf8_lossy(&line).into_owned());
                    }
                }
                std::thread::park_timeout(std::time::Duration::from_millis(20));
            }
            seen
        });
        CommandLines { stop, watcher }
    }

    fn stop(self) -> String {
        self.stop.store(true, Ordering::Relaxed);
        let seen = self.watcher.join().expect("the watcher ends");
        assert!(
            cfg!(not(target_os = "linux")) || seen.iter().any(|line| line.contains("migrate")),
            "nothing was seen"
        );
        Vec::from_iter(seen).join("\n")
    }
}
