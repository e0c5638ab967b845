//! What is to be typed next: it is about the stack, sandbox and profile that this run was about, and about the cause of what
//! failed.

use std::path::PathBuf;

use sandbox::gateway::{Fault, FaultKind};
use serde_json::json;
use tests::{Fixture, Ran, STACK_FILE, Want};

/// A cloud that the program finds by its name, with a stack file beside it.
struct Named {
    fixture: Fixture,
    folder: PathBuf,
    name: String,
    stack: String,
}

impl Named {
    async fn start(want: Want, label: &str) -> Named {
        let fixture = Fixture::start(want).await;
        let name = format!("{label}-{}", std::process::id());
        let folder = tests::sandboxes().join(&name);
        std::fs::create_dir_all(&folder).expect("a folder");
        let running = json!({
            "pid": std::process::id(),
            "endpoint": fixture.cloud.endpoint(),
            "environment": fixture.cloud.environment(),
            "started_at": "2026-11-30T12:00:00Z",
        });
        std::fs::write(folder.join("sandbox.json"), running.to_string()).expect("a file");
        let stack = folder.join("staging.toml");
        std::fs::copy(STACK_FILE, &stack).expect("a copy");
        Named { fixture, folder, name, stack: stack.display().to_string() }
    }

    /// Runs a task on that stack in that sandbox, and looks at every command that it prints.
    async fn run(&self, args: &[&str]) -> Ran {
        let sandbox = format!("--sandbox={}", self.name);
        let mut program = tests::program(&["--stack", &self.stack, &sandbox]);
        program.args(args);
        let mut program = tokio::process::Command::from(program);
        let output = tokio::time::timeout(super::pty::LIMIT, program.kill_on_drop(true).output());
        let output = output.await.expect("it ends").expect("`cargo xtask test` builds the program first");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().unwrap_or(-1);
        let ran = Ran { code, stdout: text(&output.stdout), stderr: text(&output.stderr) };
        self.expect_options(args, &ran.stdout);
        self.expect_options(args, &ran.stderr);
        ran
    }

    fn expect_options(&self, args: &[&str], text: &str) -> usize {
        let options = format!(" --stack {} --sandbox={} ", self.stack, self.name);
        for (at, command) in text.match_indices("cargo xtask") {
            let rest = &text[at + command.len()..];
            let shown: String = rest.chars().take(120).collect();
            assert!(rest.starts_with(&options), "{args:?} prints `{command}{shown}`");
        }
        text.matches("cargo xtask").count()
    }

    async fn stop(self) {
        std::fs::remove_dir_all(self.folder).expect("it is there");
        self.fixture.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_that_is_printed_carries_the_stack_and_the_sandbox_as_they_were_given() {
    let named = Named::start(Want::Databases, "hints").await;
    let mut commands = 0;
    let mut count = |ran: Ran| commands += (ran.stdout + &ran.stderr).matches("cargo xtask").count();
    for task in [
        &["status"][..],
        &["plan"],
        &["psql"],
        &["bastion", "shell"],
        &["bastion", "start"],
        &["bastion", "stop"],
        &["doctor"],
        &["doctor", "--json"],
        &["release", "--yes"],
        &["up"],
        &["migrate", "nobody"],
        &["tenant", "create"],
    ] {
        count(named.run(task).await);
    }
    let gateway = named.fixture.cloud.gateway();
    let (service, operation) = (Some("ec2".to_owned()), Some("RunInstances".to_owned()));
    gateway.inject(Fault { service, operation, nth: 1, kind: FaultKind::refusal() });
    count(named.run(&["up", "--yes"]).await.expect(4));
    count(named.run(&["up", "--yes"]).await.expect(0));
    for task in [
        &["status"][..],
        &["status", "--json"],
        &["resources"],
        &["resources", "--json"],
        &["migrate"],
        &["migrate", "--json"],
        &["bastion", "keep"],
        &["bastion", "keep", "--json"],
        &["exec", "--", "true"],
        &["env", "-"],
        &["audit"],
        &["down", "--dry-run"],
        &["sandbox", "status"],
        &["adopt", "--from", "/nowhere"],
        &["adopt", "--from", "/nowhere", "--json"],
    ] {
        // A file names who wrote it as it always does.
        let ran = if task[0] == "env" { continue } else { named.run(task).await };
        count(ran);
    }
    for task in ["status", "resources"] {
        let page = named.folder.join(format!("{task}.html"));
        named.run(&[task, "--html", page.to_str().expect("it is text")]).await.expect(0);
        let page = std::fs::read_to_string(page).expect("it was written");
        assert!(named.expect_options(&[task, "--html"], &page) > 0, "{task} has no command on its page");
    }
    let receipt = named.folder.join("receipt.json");
    count(named.run(&["down", "--yes", "--receipt", receipt.to_str().expect("it is text")]).await.expect(0));
    assert!(commands > 20, "only {commands} commands were printed");
    named.stop().await;
}

#[test]
fn a_profile_is_carried_as_well_and_the_sandboxes_name_where_it_does_not_run() {
    let ran = tests::run(tests::program(&["plan", "--sandbox=nobody", "--profile", "a b"])).expect(1);
    let hint = "hint: run `cargo xtask --sandbox=nobody --profile 'a b' sandbox start`";
    assert!(ran.stderr.contains(hint), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_profile_with_a_role_is_taken_in_the_stacks_region() {
    let fixture = Fixture::start(Want::ControlPlane).await;
    let dir = fixture.cloud.dir().join("profiles");
    std::fs::create_dir_all(&dir).expect("a folder");
    let (config, credentials) = (dir.join("config"), dir.join("credentials"));
    let environment = fixture.cloud.environment();
    let value = |name: &str| {
        let found = environment.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let role =
        "[profile staging]\nrole_arn = arn:aws:iam::123456789012:role/deployer\nsource_profile = base\n";
    std::fs::write(&config, role).expect("a file");
    let keys = format!(
        "[base]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
        value("AWS_ACCESS_KEY_ID"),
        value("AWS_SECRET_ACCESS_KEY")
    );
    std::fs::write(&credentials, keys).expect("a file");
    let mut program = fixture.program(&["plan", "--profile", "staging"]);
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION"] {
        program.env_remove(name);
    }
    program.env("AWS_CONFIG_FILE", &config).env("AWS_SHARED_CREDENTIALS_FILE", &credentials);
    let ran = tokio::task::spawn_blocking(|| tests::run(program)).await.expect("it ran").expect(0);
    assert!(ran.stderr.contains(":assumed-role/deployer/"), "{}", ran.stderr);
    let journal = fixture.cloud.gateway().journal();
    assert!(journal.iter().any(|call| call.operation == "AssumeRole"), "STS was not asked");
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_that_does_not_open_is_told_by_its_own_cause() {
    let fixture = Fixture::start(Want::ControlPlane).await;
    fixture.run(&["up", "--yes"]).await.expect(0);
    let gateway = fixture.cloud.gateway();
    let to = async |target: &str, code: i32, wanted: &str| {
        let ran = fixture.run(&["tunnel", "--port", "0", "--to", target]).await.expect(code);
        assert!(ran.stderr.contains(wanted), "no `{wanted}` in {}", ran.stderr);
        assert!(!ran.stderr.contains("security-groups"), "{}", ran.stderr);
        assert_eq!(fixture.cloud.gateway().live_sessions(), 0);
    };
    to("nowhere.invalid:5432", 5, "bastion shell -- getent hosts nowhere.invalid").await;
    gateway.deny("ssm", "StartSession");
    to("127.0.0.1:1", 3, "allow `ssm:StartSession`; `cargo xtask iam print connect`").await;
    gateway.allow_all();
    for (code, exit, wanted) in [
        ("InvalidSignatureException", 3, "clock"),
        ("ExpiredTokenException", 3, "aws sso login"),
        ("UnrecognizedClientException", 3, "AWS does not know these credentials"),
    ] {
        let (service, operation) = (Some("ssm".to_owned()), Some("StartSession".to_owned()));
        let kind = FaultKind::Error { status: 400, code: code.to_owned() };
        gateway.inject(Fault { service, operation, nth: 1, kind });
        to("127.0.0.1:1", exit, wanted).await;
        gateway.clear_faults();
    }
    fixture.stop().await;
}
