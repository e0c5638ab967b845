//! The same job as a shell script with the AWS CLI, one call after the other, as scripts are.

use std::process::Stdio;
use std::time::{Duration, Instant};

use tests::Fixture;

const UP: &str = include_str!("script/up.sh");
const DOWN: &str = include_str!("script/down.sh");

/// Returns how long `up`, `up` twice more and `down` take, if `aws` is on PATH.
pub(crate) async fn run(fixture: &Fixture) -> Option<Vec<Duration>> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if !std::env::split_paths(&path).any(|folder| folder.join("aws").is_file()) {
        return None;
    }
    let mut took = Vec::new();
    for script in [UP, UP, UP, DOWN] {
        let mut command = tokio::process::Command::new("sh");
        command.args(["-eu", "-c", script]).envs(fixture.cloud.environment());
        command.env("AWS_PAGER", "").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let began = Instant::now();
        let status = command.status().await.expect("there is a shell");
        assert!(status.success(), "the script fails: {status}");
        took.push(began.elapsed());
    }
    Some(took)
}
