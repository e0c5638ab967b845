//! The Docker engine: is it there, does it have an image, can it pull one.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use xshell::{Shell, cmd};

use super::Missing;
use crate::workspace::{self, Usage};

/// A registry has this long to name the image that it was asked for. The layers may take their time.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);

/// Why an image was not pulled.
pub(super) enum PullError {
    /// The registry has no such image for us; it may have the next one.
    Image(String),
    /// The registry does not answer, or refuses everything.
    Registry(String),
}

/// Checks that there is an engine that answers.
///
/// # Errors
/// [`Missing`] that names what is missing.
pub(super) fn require(sh: &Shell) -> anyhow::Result<()> {
    let install = "install Docker (https://docs.docker.com/engine/install) and start it";
    let Ok(output) = cmd!(sh, "docker version").quiet().ignore_status().output() else {
        return Err(Missing(format!("there is no program `docker`; {install}")).into());
    };
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().last().unwrap_or("`docker version` failed").trim().to_owned();
    if said.contains("permission denied") {
        let hint = "let it by `sudo usermod --append --groups docker \"$USER\"` and log in again";
        return Err(Missing(format!("your user may not use the Docker engine: {said}; {hint}")).into());
    }
    let hint = "start it; `docker version` tells when it answers";
    Err(Missing(format!("the Docker engine does not answer: {said}; {hint}")).into())
}

/// Tells whether the engine has the image.
pub(super) fn is_present(sh: &Shell, reference: &str) -> bool {
    workspace::succeeds(cmd!(sh, "docker image inspect {reference}"))
}

/// Pulls an image, its layers shown on stderr.
pub(super) fn pull(reference: &str) -> Result<(), PullError> {
    let failed = |error: std::io::Error| PullError::Registry(format!("cannot run `docker pull`: {error}"));
    let mut child = Command::new("docker")
        .args(["pull", reference])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if !answers(&mut child) {
        // One that is gone already is no failure.
        child.kill().ok();
        child.wait().map_err(failed)?;
        let limit = ANSWER_LIMIT.as_secs();
        return Err(PullError::Registry(format!("no answer within {limit} s for `{reference}`")));
    }
    let mut said = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut said).map_err(failed)?;
    }
    if child.wait().map_err(failed)?.success() {
        return Ok(());
    }
    let said = said.trim().replace("Error response from daemon: ", "");
    let of_the_image = ["manifest unknown", "not found", "pull access denied", "no matching manifest"];
    if of_the_image.iter().any(|words| said.contains(words)) {
        Err(PullError::Image(said))
    } else {
        Err(PullError::Registry(said))
    }
}

/// Returns the error of an image that an environment variable names.
pub(super) fn not_pulled(variable: &str, reference: &str, error: &PullError) -> anyhow::Error {
    let (PullError::Image(said) | PullError::Registry(said)) = error;
    let text = format!(
        "{variable} names `{reference}`, which is not here and cannot be pulled: {said}; \
         name another image, or unset it and run `cargo xtask images`"
    );
    Usage(text).into()
}

/// Waits for the first line or the end, and leaves a thread that passes the lines on.
fn answers(child: &mut Child) -> bool {
    let Some(stdout) = child.stdout.take() else { return true };
    let (sender, first) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            eprintln!("  {line}");
            // Nobody listens after the first line.
            sender.send(()).ok();
        }
    });
    !matches!(first.recv_timeout(ANSWER_LIMIT), Err(mpsc::RecvTimeoutError::Timeout))
}
