//! Removes what the container tests made, however they end.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;

/// Waits for the end of its stdin, which comes even when the other end is killed.
const SWEEP: &str = include_str!("sweep.sh");

/// A process that outlives this one, and then removes every container, network and volume with the run's label.
#[must_use = "a sweeper that is dropped takes the tests to be cut off"]
pub(super) struct Sweeper {
    run: String,
    child: Child,
}

impl Sweeper {
    /// Starts a sweeper for a new run, in a process group of its own: Ctrl-C does not reach it.
    pub(super) fn start() -> anyhow::Result<Sweeper> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let run = format!("{:x}-{:x}", since.as_nanos(), std::process::id());
        let child = Command::new("sh")
            .args(["-c", SWEEP, "sh", &run])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .context("cannot run `sh`")?;
        Ok(Sweeper { run, child })
    }

    /// Returns the run's id: what the tests make has the label `drawbridge.run=<id>`.
    pub(super) fn run(&self) -> &str {
        &self.run
    }

    /// Tells the sweeper that the tests have ended, and waits until nothing of theirs is left.
    ///
    /// # Errors
    /// If something may be left; the sweeper has said what.
    pub(super) fn end(mut self) -> anyhow::Result<()> {
        // One that does not listen any more tells it by its status.
        self.child.stdin.take().map(|mut stdin| stdin.write_all(b"end\n"));
        let status = self.child.wait().context("cannot wait for `sh`")?;
        anyhow::ensure!(status.success(), "the container tests' leftovers are not removed ({status})");
        Ok(())
    }
}
