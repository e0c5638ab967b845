//! What another user of the machine gets of a sandbox: nothing to read, nothing to use, and no shell of root's.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sandbox::gateway::Emulator;
use tests::{Fixture, Want};

/// Numbers that no account of a machine has, and `nobody`, as which much runs.
const STRANGERS: [u32; 2] = [54_321, 65_534];

/// Says whether we may take another's number.
fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Runs a line of bash as that user and returns its output. Blocks.
fn run_as(stranger: u32, line: &str) -> String {
    let mut command = Command::new("bash");
    command.args(["-c", line]).env_clear().env("PATH", "/usr/bin:/bin").current_dir("/");
    // The standard library drops root's other groups along with this.
    command.uid(stranger).gid(stranger).stdin(Stdio::null());
    let ran = tests::run(command);
    format!("{}{}", ran.stdout, ran.stderr)
}

/// Returns every file and folder below one.
fn all_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    let entries = fs::read_dir(folder).map(Iterator::collect::<Vec<_>>).unwrap_or_default();
    for entry in entries.into_iter().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(all_below(&entry.path())),
            _ => found.push(entry.path()),
        }
    }
    found
}

/// Returns what a stranger is answered to a request that it writes by hand.
fn ask(stranger: u32, port: u16, request: &str) -> String {
    let line = format!(
        "exec 3<>/dev/tcp/127.0.0.1/{port} && printf '%b' '{}' >&3 && cat <&3",
        request.replace('\r', "\\r").replace('\n', "\\n")
    );
    run_as(stranger, &line)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_user_of_the_machine_reads_and_uses_nothing_of_a_sandbox() {
    if !is_root() {
        return tests::skip("only root can take another user's place");
    }
    let fixture = Fixture::start(Want::Databases).await;
    // A folder that everybody may enter, as /tmp is: what keeps strangers out must be the sandbox's own.
    fixture.run(&["up", "--yes"]).await.expect(0);
    let (gateway, dir) = (fixture.cloud.gateway(), fixture.cloud.dir().to_owned());
    let port = gateway.address().port();
    let vpcs = fixture.raw().ec2("DescribeVpcs", &[]).await;
    let calls = gateway.journal().len();
    let attempts = tokio::task::spawn_blocking(move || {
        for stranger in STRANGERS {
            let list = tempfile::NamedTempFile::new().expect("there is a folder for temporary files");
            let paths = all_below(&dir);
            assert!(paths.len() > 100, "a cluster alone has more files than {paths:?}");
            let lines: String = paths.iter().map(|path| format!("{}\n", path.display())).collect();
            fs::write(list.path(), lines).expect("it can be written");
            fs::set_permissions(list.path(), fs::Permissions::from_mode(0o644)).expect("it is ours");
            let look = "while IFS= read -r path; do if [ -r \"$path\" ]; then echo \"$path\"; fi; done";
            let readable = run_as(stranger, &format!("{look} <'{}'", list.path().display()));
            assert_eq!(readable, "", "{stranger} reads what is here");
            let host = format!("Host: 127.0.0.1:{port}\r\nConnection: close\r\n");
            for (head, body) in [
                ("POST / HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded", "Action=DescribeVpcs"),
                ("POST / HTTP/1.1\r\nX-Amz-Target: AmazonSSM.StartSession", "{\"Target\":\"i-1\"}"),
                ("POST /_drawbridge/reset HTTP/1.1", ""),
                ("POST /moto-api/reset HTTP/1.1", ""),
            ] {
                let length = format!("Content-Length: {}\r\n\r\n", body.len());
                let answer = ask(stranger, port, &format!("{head}\r\n{host}{length}{body}"));
                assert!(answer.starts_with("HTTP/1.1 403 "), "{stranger}: {head}: {answer}");
            }
        }
    });
    attempts.await.expect("nothing is open");
    assert_eq!(gateway.journal().len(), calls, "who is refused leaves no trace in what is counted");
    assert_eq!(fixture.raw().ec2("DescribeVpcs", &[]).await.len(), vpcs.len());
    fixture.stop().await;
}

/// moto has no users: whoever reached it would read every secret and empty the account.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_behind_the_gateway_answers_nobody_else() {
    let fixture = Fixture::start(Want::ControlPlane).await;
    let tests::Cloud::Sandbox(sandbox) = &fixture.cloud else { panic!("it is a sandbox") };
    let Emulator::OwnMoto(address, _) = sandbox.emulator() else { panic!("it has a moto of its own") };
    let requests = tokio::task::spawn_blocking(move || {
        ["POST /moto-api/reset", "GET /moto-api/data.json", "POST /"].map(|head| {
            let mut stream = std::net::TcpStream::connect(address).expect("moto listens");
            let request = format!("{head} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\n\r\n");
            std::io::Write::write_all(&mut stream, request.as_bytes()).expect("moto reads");
            let mut answer = String::new();
            std::io::Read::read_to_string(&mut stream, &mut answer).expect("moto answers");
            answer
        })
    });
    for answer in requests.await.expect("each is answered") {
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    }
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shell_on_the_bastion_is_never_root_s_and_has_a_home_of_its_own() {
    let fixture = Fixture::start(Want::ControlPlane).await;
    fixture.run(&["up", "--yes"]).await.expect(0);
    let script = "id -u; id -G; cd && touch here && pwd -P && stat -c %a .";
    let ran = fixture.run(&["bastion", "shell", "--quiet", "--", "sh", "-c", script]).await.expect(0);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    let own = fs::metadata("/proc/self").map(|own| own.uid()).unwrap_or_default();
    if own == 0 {
        assert!(lines[0] != "0" && !lines[1].split(' ').any(|group| group == "0"), "{ran:?}");
    } else {
        assert_eq!(lines[0], own.to_string());
    }
    assert_eq!(lines[3], "700", "nobody else looks into it");
    // It goes with the session.
    assert!(!Path::new(lines[2]).exists(), "{ran:?}");
    fixture.stop().await;
}

#[test]
fn the_sandbox_s_own_files_are_for_their_owner_alone() {
    tests::block_on(async {
        let name = format!("files-{}", std::process::id());
        let flag = format!("--sandbox={name}");
        let task = async |task: &'static str| {
            let command = tests::program(&["sandbox", task, &flag]);
            tokio::task::spawn_blocking(move || tests::run(command)).await.expect("it ran")
        };
        let started = task("start").await;
        let dir = tests::sandboxes().join(&name);
        let mode = |path: &Path| fs::metadata(path).map(|found| found.permissions().mode() & 0o777);
        let folder = mode(&dir);
        let files: Vec<(PathBuf, u32)> = fs::read_dir(&dir)
            .map(|entries| entries.flatten().map(|entry| entry.path()).collect::<Vec<_>>())
            .unwrap_or_default()
            .into_iter()
            .filter(|path| path.is_file())
            .filter_map(|path| Some((path.clone(), mode(&path).ok()?)))
            .collect();
        let printed = task("env").await;
        let processes = fs::read_dir("/proc").map(|entries| {
            let lines = entries.flatten().filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
            lines.map(|line| String::from_utf8_lossy(&line).into_owned()).collect::<Vec<_>>()
        });
        let log = fs::read_to_string(dir.join("sandbox.log")).unwrap_or_default();
        // Before anything is expected of them: a sandbox outlives whoever has started it.
        let stopped = task("stop").await;
        drop(fs::remove_dir_all(&dir));
        started.expect(0);
        stopped.expect(0);
        // PostgreSQL, which never runs as root, passes through it.
        let wanted = if is_root() { 0o710 } else { 0o700 };
        assert_eq!(folder.expect("it has a folder"), wanted);
        let open: Vec<_> = files
            .iter()
            .filter(|(path, mode)| {
                mode & 0o077 != 0 && !path.ends_with("rds-ca.pem") && !path.ends_with("sandbox.lock")
            })
            .collect();
        assert!(open.is_empty(), "{open:?}");
        let secret = printed.expect(0).stdout;
        let secret = secret.lines().find_map(|line| line.strip_prefix("export AWS_SECRET_ACCESS_KEY="));
        let secret = secret.expect("the key is among the variables").trim_matches('\'').to_owned();
        assert!(secret.len() >= 64, "nobody guesses it");
        assert!(!log.contains(&secret), "it is in the log");
        for line in processes.into_iter().flatten() {
            assert!(!line.contains(&secret), "it is in the arguments of a process");
        }
    });
}
