//! Removes what the tests made outside of the target directory, however they end.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;

/// Waits for the end of its stdin, which comes even when the other end is killed.
const SWEEP: &str = include_str!("sweep.sh");

/// A process that outlives this one, and then removes a folder, and every container, network and volume with the run's label.
#[must_use = "a sweeper that is dropped takes the tests to be cut off"]
pub(super) struct Sweeper {
    run: String,
    child: Child,
}

impl Sweeper {
    /// Starts a sweeper for a new run, in a process group of its own: Ctrl-C does not reach it.
    pub(super) fn start(run: String, has_containers: bool, dir: Option<&Path>) -> anyhow::Result<Sweeper> {
        let child = Command::new("sh")
            .args(["-c", SWEEP, "sh", &run, if has_containers { "docker" } else { "" }])
            .arg(dir.unwrap_or(Path::new("")))
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
        anyhow::ensure!(status.success(), "the tests' leftovers are not removed ({status})");
        Ok(())
    }
}

/// Returns an id that no other run has.
pub(super) fn new_run() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{:x}-{:x}", since.as_nanos(), std::process::id())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Keeps containers as files; a second one appears when the first is removed.
    const DOCKER: &str = r#"#!/bin/sh
cd "$HERE" || exit 1
echo "$*" >>calls
case "$1" in
ps) for file in container-*; do [ ! -e "$file" ] || echo "$file"; done ;;
rm)
    shift 3
    rm "$@"
    [ -e late ] || { touch late container-late; }
    ;;
esac
"#;

    #[test]
    fn a_sweeper_whose_tests_are_cut_off_removes_what_appears_late_and_asks_for_its_own_label_only() {
        let dir = std::env::temp_dir().join(format!("drawbridge-sweeper-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let docker = dir.join("docker");
        fs::write(&docker, DOCKER).unwrap();
        // What appears late has appeared by the next look, whenever that is.
        let sleep = dir.join("sleep");
        fs::write(&sleep, "#!/bin/sh\n").unwrap();
        for program in [&docker, &sleep] {
            fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::write(dir.join("container-early"), "").unwrap();
        let path = format!("{}:{}", dir.display(), std::env::var("PATH").unwrap());
        let written = dir.join("written by tests");
        fs::create_dir_all(written.join("deep")).unwrap();

        // Its stdin ends at once, without a line.
        let swept = Command::new("sh")
            .args(["-c", SWEEP, "sh", "one-run", "docker"])
            .arg(&written)
            .env("PATH", path)
            .env("HERE", &dir)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let calls = fs::read_to_string(dir.join("calls")).unwrap();
        let is_removed = !written.exists();
        let left = ["early", "late"].map(|name| dir.join(format!("container-{name}")).exists());
        fs::remove_dir_all(&dir).unwrap();

        assert!(swept.status.success(), "{}", String::from_utf8_lossy(&swept.stderr));
        assert_eq!(left, [false, false]);
        assert!(is_removed, "the folder is left");
        let lists = calls.lines().filter(|call| !call.starts_with("rm "));
        let foreign: Vec<&str> =
            lists.filter(|call| !call.ends_with("--filter label=drawbridge.run=one-run")).collect();
        assert!(foreign.is_empty(), "{foreign:?}");
    }
}
