//! `sandbox`: AWS on this machine.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use sandbox::detached;
use serde_json::json;

use crate::failure::{Exit, Failure};
use crate::text::{Text, put_line};
use crate::view::{self, View};
use crate::{paths, program};

/// Runs one of the sandbox's tasks.
pub async fn run(task: &xtask::Sandbox, global: &xtask::Global, view: &View) -> Result<ExitCode, Failure> {
    let name = global.sandbox.as_deref().unwrap_or(program::DEFAULT_SANDBOX);
    let dir = folder(name)?;
    match task {
        xtask::Sandbox::Start(args) => Ok(told(name, &start(name, args, view).await?, global.json)?),
        xtask::Sandbox::Run(args) => {
            let options = options(&dir, args, view)?;
            sandbox::detached::serve_until_signal(options).await?;
            Ok(ExitCode::SUCCESS)
        }
        xtask::Sandbox::Stop => {
            let stopped = detached::stop(&dir)?.is_some();
            let text = if stopped { "stopped" } else { "it was not running" };
            view::result(global.json, &Text::of(text), &json!({ "sandbox": name, "stopped": stopped }))?;
            Ok(ExitCode::SUCCESS)
        }
        xtask::Sandbox::Status => {
            let running = detached::find(&dir);
            let (text, document) = match &running {
                Some(running) => (
                    format!("sandbox `{name}` runs at {} (process {})", running.endpoint, running.pid),
                    json!({ "sandbox": name, "running": true, "endpoint": running.endpoint, "pid": running.pid }),
                ),
                None => {
                    (format!("sandbox `{name}` does not run"), json!({ "sandbox": name, "running": false }))
                }
            };
            view::result(global.json, &Text::of(text), &document)?;
            if running.is_some() { Ok(ExitCode::SUCCESS) } else { Err(Failure::told(Exit::Drift)) }
        }
        xtask::Sandbox::Env => {
            let environment = environment(name).await?;
            let mut text = String::new();
            for (name, value) in &environment {
                text.push_str(&format!("export {name}={}\n", program::quote(value)));
            }
            let document: serde_json::Map<_, _> =
                environment.into_iter().map(|(name, value)| (name, json!(value))).collect();
            match global.json {
                true => view::result(true, &Text::new(), &document)?,
                // A shell reads it.
                false => view::pass(text.trim_end())?,
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Returns the variables that point programs at the sandbox of that name.
///
/// # Errors
/// It does not run.
pub async fn environment(name: &str) -> Result<Vec<(String, String)>, Failure> {
    match detached::find(&folder(name)?) {
        Some(running) => Ok(running.environment),
        None => {
            Err(Failure::new(Exit::Failure, anyhow::Error::msg(format!("sandbox `{name}` does not run")))
                .hint("run `cargo xtask sandbox start`"))
        }
    }
}

/// Returns how a sandbox of this project is started in `dir`.
pub fn options(dir: &Path, args: &xtask::SandboxStart, view: &View) -> Result<sandbox::Options, Failure> {
    let view = view.clone();
    Ok(sandbox::Options {
        postgres: match args.postgres {
            xtask::PostgresSource::Wheel => sandbox::PostgresSource::Wheel,
            xtask::PostgresSource::Host => sandbox::PostgresSource::Host,
            xtask::PostgresSource::Docker => sandbox::PostgresSource::Docker(postgres_image()),
        },
        key: match args.key {
            xtask::Key::Rsa => sandbox::KeyKind::Rsa,
            xtask::Key::Ecc384 => sandbox::KeyKind::Ecc384,
        },
        progress: Arc::new(move |line| view.say(line)),
        ..sandbox::Options::new(dir, paths::sandboxes()?)
    })
}

/// Starts it as a process of its own and waits until it is ready.
///
/// # Errors
/// Something is missing on this machine, or the process ended; its log says why.
pub async fn start(
    name: &str,
    args: &xtask::SandboxStart,
    view: &View,
) -> Result<detached::Running, Failure> {
    let dir = folder(name)?;
    if let Some(running) = detached::find(&dir) {
        view.say("it runs already");
        return Ok(running);
    }
    prepare(view).await?;
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot create `{}`", dir.display()))?;
    let mut child = None;
    let mut is_told = false;
    loop {
        if let Some(running) = detached::find(&dir) {
            return Ok(running);
        }
        let ended = child.as_mut().map(Child::try_wait).transpose()?;
        let is_taken = detached::is_taken(&dir)?;
        match ended {
            Some(None) => {}
            // Another start is under way, or was, and its process goes on with it.
            None | Some(Some(_)) if is_taken => {
                child = None;
                if !std::mem::replace(&mut is_told, true) {
                    view.say("it is being started already; waiting for that");
                }
            }
            Some(Some(status)) => {
                let log = std::fs::read_to_string(dir.join(LOG)).unwrap_or_default();
                let text = format!("the sandbox ended at once ({status}):\n{}", log.trim_end());
                return Err(Failure::new(Exit::Failure, anyhow::Error::msg(text)));
            }
            None => child = Some(spawn(name, &dir, args)?),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The log of its process, in its folder.
const LOG: &str = "sandbox.log";

fn spawn(name: &str, dir: &Path, args: &xtask::SandboxStart) -> Result<Child, Failure> {
    let path = dir.join(LOG);
    let log = sandbox::create_log(&path).with_context(|| format!("cannot create `{}`", path.display()))?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["sandbox", "run", "--verbose", &format!("--sandbox={name}")])
        .args(["--postgres", &value(&args.postgres), "--key", &value(&args.key)])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Ctrl-C at the terminal is not meant for it.
        .process_group(0);
    Ok(command.spawn().context("cannot start the sandbox's process")?)
}

/// Does what takes long the first time where the user sees it, not in the background.
async fn prepare(view: &View) -> Result<(), Failure> {
    let (cache, view) = (paths::sandboxes()?, view.clone());
    let prepared =
        tokio::task::spawn_blocking(move || sandbox::Runtime::ensure(&cache, &|line| view.say(line)));
    match prepared.await.context("cannot prepare the sandbox")? {
        // Without Python the sandbox's process looks for Docker.
        Ok(_) | Err(sandbox::Error::NoPython) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn told(name: &str, running: &detached::Running, json: bool) -> std::io::Result<ExitCode> {
    let flag = if name == program::DEFAULT_SANDBOX { String::new() } else { format!("={name}") };
    let mut text = Text::of(format_args!("sandbox `{name}` runs at {}", running.endpoint));
    put_line!(text, "add `--sandbox{flag}` to any task, or: eval \"$(cargo xtask sandbox env)\"");
    view::result(json, &text, &json!({ "sandbox": name, "endpoint": running.endpoint, "pid": running.pid }))?;
    Ok(ExitCode::SUCCESS)
}

fn folder(name: &str) -> Result<PathBuf, Failure> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 32 || !name.chars().all(fits) {
        let shown: String = name.escape_debug().take(60).collect();
        return Err(Failure::usage(format!(
            "`{shown}` cannot be a sandbox's name; use a-z, 0-9 and hyphens"
        )));
    }
    Ok(paths::sandboxes()?.join(name))
}

fn postgres_image() -> String {
    std::env::var("DRAWBRIDGE_IMAGE_POSTGRES").unwrap_or_else(|_| "postgres:16-alpine".to_owned())
}

fn value(choice: &impl clap::ValueEnum) -> String {
    choice.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}
