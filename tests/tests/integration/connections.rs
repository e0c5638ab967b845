//! A tunnel as a program of its own, and what can happen to it while it is open.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use deploy::bridge::{Bridge, Route, Silence};
use jiff::SignedDuration;
use sandbox::gateway::{Disconnect, ResumeUrl};
use tests::{Fixture, Want, block_on};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How long anything here may take before it hangs.
const HANGS: Duration = Duration::from_secs(120);

/// Sends everything back to everybody.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || std::io::copy(&mut &stream, &mut &stream).ok());
        }
    });
    address
}

/// A tunnel that is open, and what it says.
struct Open {
    program: Child,
    port: u16,
    lines: mpsc::Receiver<String>,
    heard: Vec<String>,
}

impl Open {
    fn start(mut command: Command) -> Open {
        let mut program = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let lines = follow(program.stderr.take().expect("it is piped"));
        let mut line = String::new();
        BufReader::new(program.stdout.as_mut().expect("it is piped"))
            .read_line(&mut line)
            .expect("it is read");
        let mut open = Open { program, port: 0, lines, heard: Vec::new() };
        let Ok(ready) = serde_json::from_str::<serde_json::Value>(&line) else {
            drop(open.program.wait());
            open.heard.extend(open.lines.iter());
            panic!("the tunnel does not open: {:#?}", open.heard);
        };
        open.port = ready["port"].as_u64().and_then(|port| port.try_into().ok()).expect("a port is told");
        open
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("somebody listens");
        stream.set_read_timeout(Some(HANGS)).expect("it is a socket");
        stream
    }

    /// Waits until it says something with these words.
    fn wait_for(&mut self, words: &str) -> String {
        loop {
            match self.lines.recv_timeout(HANGS) {
                Ok(line) if line.contains(words) => return line,
                Ok(line) => self.heard.push(line),
                Err(_) => panic!("it never says `{words}`: {:#?}", self.heard),
            }
        }
    }

    /// Ends it in good order; returns all that it said.
    fn end(mut self) -> Vec<String> {
        Command::new("kill").arg(self.program.id().to_string()).status().expect("kill is there");
        assert!(self.program.wait().expect("it ends").success(), "{:#?}", self.heard);
        self.heard.extend(self.lines.iter());
        self.heard
    }
}

/// Hands lines on as they come.
fn follow(stderr: ChildStderr) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// Says whether what is sent comes back; a connection that is refused ends instead.
fn echoes(stream: &mut TcpStream) -> bool {
    let mut back = [0; 1];
    stream.write_all(b"?").is_ok() && stream.read_exact(&mut back).is_ok()
}

fn tunnel_to(fixture: &Fixture, target: SocketAddr) -> Command {
    fixture.program(&["tunnel", "--port", "0", "--to", &target.to_string(), "--json"])
}

#[test]
fn more_connections_than_open_files_are_refused_and_the_tunnel_goes_on() {
    block_on(async {
        let fixture = Fixture::start(Want::ControlPlane).await;
        fixture.run(&["up", "--yes"]).await.expect(0);
        let inner = tunnel_to(&fixture, echo());
        let mut command = Command::new("sh");
        // The hard limit too: there is nothing to raise.
        command
            .args(["-c", "ulimit -n 48; exec \"$0\" \"$@\""])
            .arg(inner.get_program())
            .args(inner.get_args());
        command.env_clear().envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let work = tokio::task::spawn_blocking(move || {
            let mut open = Open::start(command);
            let mut streams: Vec<TcpStream> = (0..60).map(|_| open.connect()).collect();
            let answered = streams.iter_mut().filter_map(|stream| echoes(stream).then_some(())).count();
            assert!((1..60).contains(&answered), "{answered} of 60 were answered");
            open.wait_for("a connection is refused");
            drop(streams);
            // Those that have ended make room; the first tries may come before that.
            let hangs = Instant::now() + HANGS;
            while !echoes(&mut open.connect()) {
                assert!(Instant::now() < hangs, "nothing is answered any more");
                std::thread::yield_now();
            }
            let heard = open.end();
            let told = heard.iter().filter(|line| line.contains("a connection is refused")).count();
            assert_eq!(told, 0, "it is told once: {heard:#?}");
        });
        work.await.unwrap();
        fixture.stop().await;
    });
}

/// A `credential_process` that counts its launches, and the variables that make programs use it.
struct Helper {
    dir: PathBuf,
}

impl Helper {
    fn new(fixture: &Fixture, script: &str) -> Helper {
        let (dir, key) = (fixture.cloud.dir(), fixture.cloud.gateway().key());
        let program = dir.join("helper");
        let answer = format!(
            r#"{{"Version":1,"AccessKeyId":"{}","SecretAccessKey":"{}""#,
            key.id(),
            key.secret().expose()
        );
        let text = format!(
            "#!/bin/sh\ncd '{}'\necho launched >> launches\n{script}\nprintf '{answer}%s}}' \"$more\"\n",
            dir.display()
        );
        fs::write(&program, text).expect("the folder can be written to");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
            .expect("the folder can be written to");
        let config = format!("[profile helped]\ncredential_process = {}\n", program.display());
        fs::write(dir.join("config"), config).expect("the folder can be written to");
        Helper { dir: dir.to_owned() }
    }

    fn launches(&self) -> usize {
        fs::read_to_string(self.dir.join("launches")).map_or(0, |text| text.lines().count())
    }

    fn use_in(&self, command: &mut Command) {
        command
            .env_remove("AWS_ACCESS_KEY_ID")
            .env_remove("AWS_SECRET_ACCESS_KEY")
            .env("AWS_CONFIG_FILE", self.dir.join("config"))
            .env("AWS_PROFILE", "helped");
    }
}

#[test]
fn a_helper_that_takes_its_time_is_launched_once_for_calls_and_websockets() {
    block_on(async {
        let fixture = Fixture::start(Want::ControlPlane).await;
        fixture.run(&["up", "--yes"]).await.expect(0);
        let dir = fixture.cloud.dir().to_owned();
        // It waits for somebody, as one does that asks for a code.
        let helper = Helper::new(&fixture, "[ -p asks ] && cat asks > /dev/null && rm asks");
        let made = Command::new("mkfifo").arg(dir.join("asks")).status();
        assert!(made.unwrap().success());
        let mut command = tunnel_to(&fixture, echo());
        helper.use_in(&mut command);
        let work = tokio::task::spawn_blocking(move || {
            let somebody = {
                let fifo = dir.join("asks");
                std::thread::spawn(move || fs::write(fifo, "123456"))
            };
            let open = Open::start(command);
            somebody.join().unwrap().unwrap();
            // Each at the same time as the others has a session, and a websocket, of its own.
            let mut streams: Vec<TcpStream> = (0..4).map(|_| open.connect()).collect();
            assert!(streams.iter_mut().all(echoes));
            open.end();
            assert_eq!(helper.launches(), 1);
        });
        work.await.unwrap();
        fixture.stop().await;
    });
}

#[test]
fn a_resume_without_credentials_says_so_at_once_in_the_helpers_words() {
    block_on(async {
        let fixture = Fixture::start(Want::ControlPlane).await;
        fixture.run(&["up", "--yes"]).await.expect(0);
        let dir = fixture.cloud.dir().to_owned();
        // They are spent as soon as they are given, so that every use asks again.
        let script = "[ -e locked ] && { echo 'the vault is locked: run vault login' >&2; exit 1; }\n\
            more=$(date -u -d '+30 seconds' '+,\"SessionToken\":\"t\",\"Expiration\":\"%Y-%m-%dT%H:%M:%SZ\"')";
        let helper = Helper::new(&fixture, script);
        let mut command = tunnel_to(&fixture, echo());
        helper.use_in(&mut command);
        let (opened, is_open) = tokio::sync::oneshot::channel();
        let (lost, is_lost) = mpsc::channel::<()>();
        let work = tokio::task::spawn_blocking(move || {
            let mut open = Open::start(command);
            let mut stream = open.connect();
            assert!(echoes(&mut stream));
            fs::write(dir.join("locked"), "").unwrap();
            opened.send(()).unwrap();
            is_lost.recv().unwrap();
            let line = open.wait_for("the vault is locked: run vault login");
            assert!(line.contains("cannot resume the session"), "{line}");
            // Once somebody has unlocked it, the connection goes on where it was.
            fs::remove_file(dir.join("locked")).unwrap();
            assert!(echoes(&mut stream));
            open.end();
        });
        is_open.await.unwrap();
        fixture.cloud.gateway().disconnect(Disconnect::Silent);
        lost.send(()).unwrap();
        work.await.unwrap();
        fixture.stop().await;
    });
}

#[test]
fn a_clock_that_is_ten_minutes_off_is_corrected_for_websockets_too() {
    block_on(async {
        for minutes in [10, -10] {
            let fixture = Fixture::start_with(Want::ControlPlane, move |gateway| {
                gateway.clock_ahead = SignedDuration::from_mins(minutes);
            })
            .await;
            fixture.run(&["up", "--yes"]).await.expect(0);
            let command = tunnel_to(&fixture, echo());
            let work = tokio::task::spawn_blocking(move || {
                let open = Open::start(command);
                assert!(echoes(&mut open.connect()));
                open.end();
            });
            work.await.unwrap();
            fixture.stop().await;
        }
    });
}

/// Opens a bridge to a port of the bastion itself, in this process.
async fn bridge_to(fixture: &Fixture, target: SocketAddr) -> Bridge {
    let (cloud, inventory) = fixture.context.observe().await.expect("the account can be observed");
    let (host, port) = (target.ip().to_string(), target.port());
    let route = Route { host, port, sessions: 1, silence: Silence::TimesOut };
    Bridge::open(&fixture.context, &cloud, &inventory, route).await.expect("a tunnel opens")
}

async fn echo_once(stream: &mut tunnel::Stream) {
    stream.write_all(b"?").await.expect("it is written");
    assert_eq!(stream.read_u8().await.expect("it is answered"), b'?');
}

#[test]
fn a_session_is_resumed_though_the_service_does_not_repeat_its_address() {
    block_on(async {
        let fixture = Fixture::start_with(Want::ControlPlane, |gateway| {
            gateway.resume_url = ResumeUrl::Omitted;
        })
        .await;
        fixture.run(&["up", "--yes"]).await.expect(0);
        let bridge = bridge_to(&fixture, echo()).await;
        let mut stream = bridge.connect().await.unwrap();
        for _ in 0..2 {
            echo_once(&mut stream).await;
            fixture.cloud.gateway().disconnect(Disconnect::Closed);
        }
        echo_once(&mut stream).await;
        assert!(bridge.state().resumes >= 1);
        bridge.close().await;
        fixture.stop().await;
    });
}

#[test]
fn a_bastion_that_takes_the_place_of_another_is_found_by_an_open_tunnel() {
    block_on(async {
        let fixture = Fixture::start(Want::ControlPlane).await;
        fixture.run(&["up", "--yes"]).await.expect(0);
        let bridge = bridge_to(&fixture, echo()).await;
        echo_once(&mut bridge.connect().await.unwrap()).await;
        fixture.run(&["down", "bastion", "--yes"]).await.expect(0);
        fixture.run(&["up", "--yes"]).await.expect(0);
        echo_once(&mut bridge.connect().await.unwrap()).await;
        bridge.close().await;
        fixture.stop().await;
    });
}

#[test]
fn every_spelling_of_the_bastion_itself_leads_there() {
    block_on(async {
        let fixture = Fixture::start(Want::ControlPlane).await;
        fixture.run(&["up", "--yes"]).await.expect(0);
        let port = echo().port();
        for host in ["localhost", "127.0.0.1", "127.1.2.3", "[::1]"] {
            let target = format!("{host}:{port}");
            let command = fixture.program(&["tunnel", "--port", "0", "--to", &target, "--json"]);
            let work = tokio::task::spawn_blocking(move || {
                let open = Open::start(command);
                assert!(echoes(&mut open.connect()));
                open.end();
            });
            work.await.unwrap();
        }
        fixture.stop().await;
    });
}
