//! The local end of a tunnel: whose connections are carried.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;

use sandbox::Programs;
use serde_json::Value;
use tests::{Fixture, Running, Want, block_on};

use super::{run, start};

/// Greets everybody, and sends back what it is sent.
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

/// Says whether this is root, who alone can be somebody else here.
fn is_root() -> bool {
    fs_uid(Path::new("/proc/self")) == Some(0)
}

fn fs_uid(path: &Path) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).ok().map(|file| file.uid())
}

const NOBODY: u32 = 65534;

/// Sends a word to the port as that user, and returns what comes back.
fn ask(port: u16, user: u32) -> String {
    use std::os::unix::process::CommandExt;
    let script = format!(
        "exec 3<>/dev/tcp/127.0.0.1/{port} && printf 'hello\\n' >&3 && read -r -t 60 line <&3; echo \"$line\""
    );
    let mut command = Command::new("bash");
    command.args(["-c", &script]).current_dir("/").uid(user);
    tests::run(command).stdout.trim().to_owned()
}

fn tunnel(fixture: &Fixture, args: &[&str]) -> Command {
    fixture.program(&[&["tunnel", "--json"], args].concat())
}

/// Starts it, and waits until it is ready. Blocks.
fn open(mut command: Command) -> (Running, Value, std::process::ChildStderr) {
    command.stderr(std::process::Stdio::piped());
    let mut program = Running::start(command);
    let ready = serde_json::from_str(&program.line()).expect("it opens");
    let stderr = program.stderr().expect("it is piped");
    (program, ready, stderr)
}

/// Ends it in good order, and returns what it said.
fn end(program: Running, stderr: std::process::ChildStderr) -> String {
    program.signal("TERM");
    let said = std::io::read_to_string(stderr).expect("it is text");
    assert!(program.ended().success(), "{said}");
    said
}

#[test]
#[cfg(target_os = "linux")]
fn another_user_of_the_machine_cannot_use_a_tunnel() {
    if !is_root() {
        return tests::skip("only root can be another user");
    }
    block_on(async {
        let fixture = start().await;
        let target = echo().to_string();
        let command = tunnel(&fixture, &["--port", "0", "--to", &target]);
        let other = tunnel(&fixture, &["--port", "0", "--to", &target, "--any-user"]);
        let work = tokio::task::spawn_blocking(move || {
            let ((program, ready, stderr), (other, other_ready, other_stderr)) = (open(command), open(other));
            let port = |ready: &Value| u16::try_from(ready["port"].as_u64().unwrap()).unwrap();
            let (port, other_port) = (port(&ready), port(&other_ready));
            assert_eq!(ask(port, 0), "hello");
            assert_eq!(ask(port, NOBODY), "", "somebody else was carried");
            assert_eq!(ask(port, NOBODY), "", "somebody else was carried");
            assert_eq!(ask(port, 0), "hello");
            let said = end(program, stderr);
            assert_eq!(said.matches("(uid 65534)").count(), 1, "it is told once: {said}");
            assert!(said.contains("--any-user") && said.contains("--socket"), "{said}");
            assert_eq!(ask(other_port, NOBODY), "hello");
            end(other, other_stderr);
        });
        work.await.unwrap();
        fixture.stop().await;
    });
}

#[test]
fn a_socket_is_reached_by_its_owner_alone_and_speaks_tls_for_programs() {
    block_on(async {
        let fixture = Fixture::start(Want::Databases).await;
        fixture.run(&["up", "--yes"]).await.expect(0);
        let psql = Programs::psql(&tests::sandboxes()).expect("the wheel brought it").display().to_string();
        let script =
            "stat -c %a \"$PGHOST\"; echo ${PGHOSTADDR-none}; \"$0\" -XAtc 'SELECT 6 * 7'; echo \"$PGHOST\"";
        let ran = fixture.run(&["exec", "--socket", "--", "sh", "-c", script, &psql]).await.expect(0);
        let lines: Vec<&str> = ran.stdout.lines().collect();
        assert_eq!(lines[..3], ["700", "none", "42"], "{ran:?}");
        assert!(!Path::new(lines[3]).exists(), "the folder is left: {ran:?}");
        let ran = fixture
            .run(&["psql", "--socket", "--", "-XAtc", r"\echo :HOST", "-c", "SELECT 42"])
            .await
            .expect(0);
        assert!(ran.stdout.starts_with('/') && ran.stdout.ends_with("\n42\n"), "{ran:?}");

        // The wheel's psql has no TLS of its own, and is on no port.
        let wheel = ["psql", "--", "-XAtc", r"\echo :HOST", "-c", "SELECT 42"];
        let ran = run(&fixture, &wheel, &[("PATH", "/nowhere")]).await.expect(0);
        assert!(ran.stdout.starts_with('/') && ran.stdout.ends_with("\n42\n"), "{ran:?}");

        let command = tunnel(&fixture, &["--socket"]);
        let work = tokio::task::spawn_blocking(move || {
            let (program, ready, stderr) = open(command);
            let socket = ready["socket"].as_str().unwrap().to_owned();
            assert!(Path::new(&socket).exists(), "{ready}");
            if is_root() {
                use std::os::unix::process::CommandExt;
                let mut command = Command::new("ls");
                command.arg(&socket).current_dir("/").uid(NOBODY);
                let ran = tests::run(command);
                assert!(ran.stderr.contains("Permission denied"), "{ran:?}");
            }
            end(program, stderr);
            assert!(!Path::new(&socket).exists(), "the socket is left");
        });
        work.await.unwrap();
        fixture.stop().await;
    });
}
