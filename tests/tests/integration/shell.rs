//! `bastion shell` through the real program: a terminal as a user has one, and commands.

use std::time::Duration;

use pty_process::{Pty, Size};
use rustix::termios::{LocalModes, Termios, tcgetattr};
use sandbox::{Challenge, Encryption};
use serde_json::{Value, json};
use tests::{Fixture, Want};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Child;
use tokio::time::timeout;

const PROMPT: &str = "bastion$ ";
const KEY: &str = "alias/sessions";
/// Longer than any of it takes on a machine that does something else.
const LIMIT: Duration = Duration::from_secs(120);

/// The program in a terminal of its own.
struct Terminal {
    pty: Pty,
    program: Child,
    cooked: Termios,
    shown: String,
}

impl Terminal {
    /// Starts the program and waits for the prompt of the bastion.
    async fn open(fixture: &Fixture) -> Terminal {
        let (pty, pts) = pty_process::open().expect("there is a pty");
        pty.resize(Size::new(43, 132)).expect("it has a size");
        let cooked = tcgetattr(&pty).expect("it has settings");
        let command = tokio::process::Command::from(fixture.program(&["bastion", "shell"]));
        let program = pty_process::Command::from(command).kill_on_drop(true);
        let program = program.spawn(pts).expect("the program starts");
        let mut terminal = Terminal { pty, program, cooked, shown: String::new() };
        terminal.wait_for(PROMPT).await;
        terminal
    }

    /// Reads until that is shown, and returns all that was shown since the last time.
    async fn wait_for(&mut self, wanted: &str) -> String {
        let mut buffer = [0; 4096];
        let reading = async {
            loop {
                if let Some(at) = self.shown.find(wanted) {
                    let rest = self.shown.split_off(at + wanted.len());
                    return std::mem::replace(&mut self.shown, rest);
                }
                let length = self.pty.read(&mut buffer).await.unwrap_or(0);
                assert!(length > 0, "no `{wanted}` in {}", self.shown);
                self.shown.push_str(&String::from_utf8_lossy(&buffer[..length]));
            }
        };
        match timeout(LIMIT, reading).await {
            Ok(shown) => shown,
            Err(_) => panic!("no `{wanted}` in {}", self.shown),
        }
    }

    /// Types Ctrl-C until the prompt is back: a key that comes before the shell has handed the terminal to its child ends
    /// neither of them.
    async fn interrupt(&mut self) {
        for _ in 0..10 {
            self.type_in("\x03").await;
            if timeout(LIMIT / 10, self.wait_for(PROMPT)).await.is_ok() {
                return;
            }
        }
        panic!("no `{PROMPT}` in {}", self.shown);
    }

    async fn type_in(&mut self, keys: &str) {
        self.pty.write_all(keys.as_bytes()).await.expect("the program reads");
    }

    /// Types a line and returns what is shown until the next prompt.
    async fn run(&mut self, line: &str) -> String {
        self.type_in(&format!("{line}\r")).await;
        self.wait_for(PROMPT).await
    }

    fn is_raw(&self) -> bool {
        let modes = tcgetattr(&self.pty).expect("it has settings").local_modes;
        !modes.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    /// Waits for the program's end; returns its exit code. The terminal must be what it was.
    async fn ended(mut self) -> i32 {
        // A program waits for its terminal to show its last words.
        let mut last = Vec::new();
        drop(timeout(LIMIT, self.pty.read_to_end(&mut last)).await.expect("the terminal is closed"));
        let status = timeout(LIMIT, self.program.wait()).await.expect("it ends").expect("it ran");
        let now = tcgetattr(&self.pty).expect("it has settings");
        assert_eq!(now.local_modes, self.cooked.local_modes);
        assert_eq!((now.input_modes, now.output_modes), (self.cooked.input_modes, self.cooked.output_modes));
        status.code().unwrap_or(-1)
    }
}

/// Types commands, resizes, interrupts and leaves.
async fn work_in_a_terminal(fixture: &Fixture) {
    let mut terminal = Terminal::open(fixture).await;
    assert!(terminal.is_raw());
    let shown = terminal.run("echo $((6 * 7)); stty size").await;
    assert!(shown.contains("\n42\r\n43 132\r\n"), "{shown:?}");
    terminal.pty.resize(Size::new(30, 100)).expect("it has a size");
    let resized = async { while !terminal.run("stty size").await.contains("\n30 100\r\n") {} };
    timeout(LIMIT, resized).await.expect("the terminal there follows this one");
    // Ctrl-C is a key: it ends what runs there, and nothing here.
    terminal.type_in("echo asl''eep; sleep 1000\r").await;
    terminal.wait_for("asleep\r\n").await;
    terminal.interrupt().await;
    // A connection that is lost is made again below it.
    fixture.cloud.gateway().disconnect(sandbox::gateway::Goodbye::Bye);
    let shown = terminal.run("echo still $((40 + 2))").await;
    assert!(shown.contains("\nstill 42\r\n"), "{shown:?}");
    terminal.type_in("exit 3\r").await;
    assert_eq!(terminal.ended().await, 0, "a terminal's session carries no exit code");
    assert_eq!(fixture.cloud.gateway().live_sessions(), 0);
}

async fn run_a_command(fixture: &Fixture) {
    let ran = fixture
        .run(&["bastion", "shell", "--quiet", "--", "sh", "-c", "echo out; echo err >&2; exit 7"])
        .await
        .expect(7);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("out\n", "err\n"));
    assert_eq!(fixture.cloud.gateway().live_sessions(), 0);
}

fn calls(fixture: &Fixture, operation: &str) -> usize {
    fixture.cloud.gateway().journal().iter().filter(|call| call.operation == operation).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_and_a_command_on_the_bastion() {
    let fixture = Fixture::start(Want::ControlPlane).await;
    let ran = fixture.run(&["bastion", "shell"]).await.expect(5);
    assert!(ran.stderr.contains("no bastion") && ran.stderr.contains("up bastion"), "{}", ran.stderr);
    fixture.run(&["up", "--yes"]).await.expect(0);
    run_a_command(&fixture).await;
    work_in_a_terminal(&fixture).await;
    assert_eq!(calls(&fixture, "GenerateDataKey"), 0);

    let words = ["bastion", "shell", "--quiet", "--", "printf", "%s|", "a  b", "$HOME", "it's", "", "x\ny"];
    assert_eq!(fixture.run(&words).await.expect(0).stdout, "a  b|$HOME|it's||x\ny|");
    let missing = fixture.run(&["bastion", "shell", "--quiet", "--", "no-such-program"]).await.expect(1);
    assert!(missing.stderr.contains("no-such-program"), "{}", missing.stderr);
    // What is no terminal is typed too, and its end is Ctrl-D.
    let empty = fixture.run(&["bastion", "shell", "--quiet"]).await.expect(0);
    assert!(empty.stdout.contains(PROMPT), "{}", empty.stdout);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_that_is_killed_is_left_as_it_was_and_its_session_is_ended() {
    let fixture = Fixture::start(Want::ControlPlane).await;
    fixture.run(&["up", "--yes"]).await.expect(0);
    for signal in ["TERM", "INT", "HUP"] {
        let terminal = Terminal::open(&fixture).await;
        let pid = terminal.program.id().expect("it runs").to_string();
        let kill = tokio::process::Command::new("kill").args([&format!("-{signal}"), &pid]).status().await;
        assert!(kill.expect("there is `kill`").success());
        assert_eq!(terminal.ended().await, 130, "{signal}");
        assert_eq!(fixture.cloud.gateway().live_sessions(), 0, "{signal}");
    }
    // A command is told with Ctrl-C and ends the session by itself; it would go on otherwise.
    let ended_for_it = calls(&fixture, "TerminateSession");
    let command = fixture.program(&["bastion", "shell", "--", "sh", "-c", "echo $$; exec sleep 1000"]);
    let (line, status) = tokio::task::spawn_blocking(move || {
        let program = tests::Running::start(command);
        let line = program.line();
        program.signal("INT");
        (line, program.ended())
    })
    .await
    .expect("it ran");
    assert_eq!(status.code(), Some(130));
    assert_eq!(calls(&fixture, "TerminateSession"), ended_for_it);
    let pid: i32 = line.trim().parse().expect("a process id");
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "it goes on on the bastion");
    assert_eq!(fixture.cloud.gateway().live_sessions(), 0);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_wants_shells_encrypted_gets_them_so() {
    let fixture = Fixture::start_agent(Want::ControlPlane, |agent| {
        agent.encryption = Some(Encryption { key_id: KEY.to_owned(), challenge: Challenge::Asked });
    })
    .await;
    fixture.run(&["up", "--yes"]).await.expect(0);
    let ran = fixture.run(&["bastion", "shell", "--", "true"]).await.expect(5);
    assert!(ran.stderr.contains("cannot encrypt the session"), "{}", ran.stderr);
    assert!(ran.stderr.contains("NotFoundException") && ran.stderr.contains("kms:Decrypt"), "{}", ran.stderr);
    assert_eq!(fixture.cloud.gateway().live_sessions(), 0);

    let key: Value = serde_json::from_str(&fixture.raw().kms("CreateKey", &json!({})).await).expect("JSON");
    let alias = json!({ "AliasName": KEY, "TargetKeyId": key["KeyMetadata"]["KeyId"] });
    fixture.raw().kms("CreateAlias", &alias).await;
    let before = calls(&fixture, "GenerateDataKey");
    run_a_command(&fixture).await;
    work_in_a_terminal(&fixture).await;
    assert_eq!(calls(&fixture, "GenerateDataKey"), before + 2, "one for each session");
    fixture.stop().await;
}
