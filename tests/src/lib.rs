//! What the tests of more than one crate share: a sandbox of one's own, and the program as a user runs it.

mod cloud;
mod environment;
mod random;
mod raw;
mod scan;
mod wait;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use deploy::context::Context;
use deploy::view::{Detail, View};
use sandbox::{AgentOptions, DatabaseMode, KeyKind, Sandbox};
use stack::{Events, Stack};

pub use cloud::{Cloud, Containers, Images, Line, Machine};
pub use environment::{fresh_dir, postgres_program, sandboxes, skip, sweeps_fully, target};
pub use random::Random;
pub use raw::{Raw, element};
pub use scan::files_with;
pub use wait::{LIMIT, Running, Watch, ended, seen, until_called, until_settled, within};

/// The stack file of the tests: what the project ships is for its user to change.
pub const STACK_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/workspace/infra/stack.toml");
/// The stack file that the project ships.
pub const SHIPPED_STACK_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../infra/stack.toml");
/// The folder that the program runs in: it has a stack file and migrations, as a checkout has.
const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/workspace");

/// A cloud of one's own, with the way to it.
pub struct Fixture {
    /// The cloud.
    pub cloud: Cloud,
    /// What tasks are given.
    pub context: Context,
    _watch: Watch,
}

/// What a test wants of its sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// A real PostgreSQL behind RDS.
    Databases,
    /// Waits end at once, and nothing stands behind RDS: for sweeps over hundreds of runs.
    ControlPlane,
}

impl Fixture {
    /// Starts a sandbox in a folder of its own and reads the tests' stack file.
    pub async fn start(want: Want) -> Fixture {
        Fixture::start_with(want, |_| ()).await
    }

    /// Starts a sandbox whose gateway has the habits that `tune` sets.
    pub async fn start_with(
        want: Want,
        tune: impl Fn(&mut sandbox::gateway::Options) + Send + Sync + 'static,
    ) -> Fixture {
        Fixture::start_custom(want, |options| {
            let habits = options.tune.clone();
            options.tune = Arc::new(move |gateway| {
                habits(gateway);
                tune(gateway);
            });
        })
        .await
    }

    /// Starts a sandbox whose agents have the habits that `tune` sets.
    pub async fn start_agent(want: Want, tune: impl FnOnce(&mut AgentOptions)) -> Fixture {
        Fixture::start_custom(want, |options| tune(&mut options.agent)).await
    }

    /// Starts a sandbox that is what `tune` makes of the usual one.
    pub async fn start_custom(want: Want, tune: impl FnOnce(&mut sandbox::Options)) -> Fixture {
        let mut options = sandbox::Options::new(fresh_dir(), sandboxes());
        // Made in a moment; two keys of RSA take longer than many a test.
        options.key = KeyKind::Ecc384;
        if want == Want::ControlPlane {
            options.databases = DatabaseMode::ControlPlaneOnly;
        }
        options.tune = Arc::new(move |gateway| {
            if want == Want::ControlPlane {
                gateway.registration_delay = std::time::Duration::ZERO;
                gateway.termination_delay = std::time::Duration::ZERO;
                gateway.database_delay = std::time::Duration::ZERO;
                gateway.session_refusals = 0;
                gateway.profile_refusals = 0;
            }
        });
        tune(&mut options);
        let sandbox = Sandbox::start(options).await.expect("the sandbox starts");
        Fixture::on(Cloud::Sandbox(Box::new(sandbox)))
    }

    /// Starts a cloud in containers.
    pub async fn start_containers(images: Images) -> Fixture {
        let containers = Containers::start(images, fresh_dir(), shipped_stack().region).await;
        Fixture::on(Cloud::LocalStack(Box::new(containers)))
    }

    fn on(cloud: Cloud) -> Fixture {
        let context = context(&cloud.environment(), Events::none());
        Fixture { cloud, context, _watch: Watch::start() }
    }

    /// Returns the program with this cloud's variables and no others that lead to AWS.
    pub fn program(&self, args: &[&str]) -> Command {
        let mut command = program(args);
        command.envs(self.cloud.environment());
        command
    }

    /// Runs the program to its end.
    ///
    /// # Panics
    /// It hangs.
    pub async fn run(&self, args: &[&str]) -> Ran {
        let mut command = tokio::process::Command::from(self.program(args));
        let output = command.kill_on_drop(true).output();
        let output = tokio::time::timeout(LIMIT, output).await;
        let output = output.unwrap_or_else(|_| panic!("{args:?} did not end within {LIMIT:?}"));
        ran(output.expect("`cargo xtask test` builds the program first"))
    }

    /// Returns raw calls to the sandbox's gateway, past our own code.
    pub fn raw(&self) -> Raw {
        Raw::new(self.cloud.gateway())
    }

    /// Stops the cloud and removes its folder.
    pub async fn stop(self) {
        let dir = self.cloud.dir().to_owned();
        self.cloud.stop().await;
        std::fs::remove_dir_all(dir).expect("its folder can be removed");
    }
}

/// Returns what a task in this process is given to work on a cloud with these variables.
pub fn context(environment: &[(String, String)], events: Events) -> Context {
    Context {
        stack: Arc::new(shipped_stack()),
        access: deploy::task::demo::access(environment),
        view: View::new(false, Detail::Quiet),
        events,
        stop: aws::Stop::new(),
        shutdown: deploy::shutdown::Shutdown::default(),
        json: false,
        yes: true,
        no_input: true,
    }
}

/// Returns the stack that the tests work on.
pub fn shipped_stack() -> Stack {
    let text = std::fs::read(STACK_FILE).expect("the stack file is there");
    stack::config::parse_bytes(&text, "infra/stack.toml").expect("the tests' stack file is right")
}

/// Returns a copy of the tests' stack file in which the database is watched in every way: alarms with mail to that
/// address, enhanced monitoring, logs that go to CloudWatch.
pub fn watched_stack_file(dir: &Path, email: &str) -> String {
    let shipped = std::fs::read_to_string(STACK_FILE).expect("the stack file is there");
    let text = shipped
        .replace(
            "[database]\n",
            "[database]\nmonitoring_interval = 60\nlogs = [\"postgresql\", \"upgrade\"]\n",
        )
        .replace("[bastion]\n", &format!("[alarms]\nemail = \"{email}\"\n\n[bastion]\n"));
    let file = dir.join("watched.toml");
    std::fs::write(&file, text).expect("the folder can be written to");
    file.to_str().expect("the folder's name is UTF-8").to_owned()
}

/// What a program that ran to its end left.
#[derive(Clone, Debug)]
pub struct Ran {
    /// The exit code.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ran {
    /// Returns itself if the exit code is that one.
    ///
    /// # Panics
    /// Otherwise, showing all that was printed.
    pub fn expect(self, code: i32) -> Ran {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Returns standard output as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }
}

/// Returns the program with an environment that leads nowhere, not to AWS, not to anybody's profile, and with the tests'
/// stack file.
pub fn program(args: &[&str]) -> Command {
    let mut command = Command::new(target().join("deploy"));
    command.args(args).env_clear().current_dir(WORKSPACE).stdin(Stdio::null());
    for name in ["PATH", "HOME", "TMPDIR"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
        .env("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        .env("AWS_ACCESS_KEY_ID", "nobody")
        .env("AWS_SECRET_ACCESS_KEY", "nobody")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    command
}

/// Runs a program to its end. Blocks.
///
/// # Panics
/// It hangs; it is killed then.
pub fn run(mut command: Command) -> Ran {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().expect("`cargo xtask test` builds the program first");
    let (pid, (tell, told)) = (child.id(), std::sync::mpsc::channel());
    std::thread::spawn(move || tell.send(child.wait_with_output()));
    let Ok(output) = told.recv_timeout(LIMIT) else {
        Command::new("kill").args(["-KILL", &pid.to_string()]).status().ok();
        panic!("{command:?} did not end within {LIMIT:?}");
    };
    ran(output.expect("a child can be waited for"))
}

fn ran(Output { status, stdout, stderr }: Output) -> Ran {
    Ran {
        code: status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    }
}

/// Runs a whole job to its end: unoptimised, the SDK's calls nest too deep for a test's stack of 2 MiB.
pub fn block_on(job: impl Future<Output = ()> + Send + 'static) {
    let _watch = Watch::start();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_stack_size(16 << 20)
        .enable_all()
        .build()
        .expect("a runtime can be built");
    if let Err(error) = runtime.block_on(runtime.spawn(job)) {
        std::panic::resume_unwind(error.into_panic());
    }
}
