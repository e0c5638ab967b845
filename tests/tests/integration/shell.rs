//! `bastion shell` through the real program: a terminal as a user has one, and commands.

use pty_process::Size;
use rustix::termios::{LocalModes, tcgetattr};
use sandbox::{Challenge, Encryption};
use serde_json::{Value, json};
use tests::{Fixture, Want};
use tokio::time::timeout;

use crate::terminal::{LIMIT, Terminal};

const PROMPT: &str = "bastion$ ";
const KEY: &str = "alias/sessions";

/// The program in a terminal of its own, at the bastion's prompt.
struct Remote {
    terminal: Terminal,
}

impl Remote {
    /// Starts the program and waits for the prompt of the bastion.
    async fn open(fixture: &Fixture) -> Remote {
        let command = tokio::process::Command::from(fixture.program(&["bastion", "shell"]));
        let mut terminal = Terminal::open(command, (43, 132));
        terminal.wait_for(PROMPT).await;
        Remote { terminal }
    }

    /// Types Ctrl-C until the prompt is back: a key that comes before the shell has handed the terminal to its child ends
    /// neither of them.
    async fn interrupt(&mut self) {
        for _ in 0..10 {
            self.terminal.type_in("\x03").await;
            if timeout(LIMIT / 10, self.terminal.wait_for(PROMPT)).await.is_ok() {
                return;
            }
        }
        panic!("no `{PROMPT}` in {}", self.terminal.shown);
    }

    /// Types a line and returns what is shown until the next prompt.
    async fn run(&mut self, line: &str) -> String {
        self.terminal.type_in(&format!("{line}\r")).await;
        self.terminal.wait_for(PROMPT).await
    }

    fn is_raw(&self) -> bool {
        let modes = tcgetattr(&self.terminal.pty).expect("it has settings").local_modes;
        !modes.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    /// Waits for the program's end; returns its exit code. The terminal must be what it was.
    async fn ended(mut self) -> i32 {
        let (code, _) = self.terminal.ended().await;
        let (before, now) = (&self.terminal.cooked, tcgetattr(&self.terminal.pty).expect("it has settings"));
        assert_eq!(now.local_modes, before.local_modes);
        assert_eq!((now.input_modes, now.output_modes), (before.input_modes, before.output_modes));
        code
    }
}

/// Types commands, resizes, interrupts and leaves.
async fn work_in_a_terminal(fixture: &Fixture) {
    let mut remote = Remote::open(fixture).await;
    assert!(remote.is_raw());
    let shown = remote.run("echo $((6 * 7)); stty size").await;
    assert!(shown.contains("\n42\r\n43 132\r\n"), "{shown:?}");
    remote.terminal.pty.resize(Size::new(30, 100)).expect("it has a size");
    let resized = async { while !remote.run("stty size").await.contains("\n30 100\r\n") {} };
    timeout(LIMIT, resized).await.expect("the terminal there follows this one");
    // Ctrl-C is a key: it ends what runs there, and nothing here.
    remote.terminal.type_in("echo asl''eep; sleep 1000\r").await;
    remote.terminal.wait_for("asleep\r\n").await;
    remote.interrupt().await;
    // A connection that is lost is made again below it.
    fixture.cloud.gateway().disconnect(sandbox::gateway::Disconnect::Closed);
    let shown = remote.run("echo still $((40 + 2))").await;
    assert!(shown.contains("\nstill 42\r\n"), "{shown:?}");
    remote.terminal.type_in("exit 3\r").await;
    assert_eq!(remote.ended().await, 0, "a terminal's session carries no exit code");
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
        let remote = Remote::open(&fixture).await;
        let pid = remote.terminal.program.id().expect("it runs").to_string();
        let kill = tokio::process::Command::new("kill").args([&format!("-{signal}"), &pid]).status().await;
        assert!(kill.expect("there is `kill`").success());
        assert_eq!(remote.ended().await, 130, "{signal}");
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
