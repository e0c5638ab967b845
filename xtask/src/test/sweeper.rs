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
        if let Some(stdin) = &mut self.child.stdin {
            // One that does not listen any more tells it by its status.
            stdin.write_all(b"end\n").ok();
        }
        self.cut_off()
    }

    /// As [`Sweeper::end`], for tests that go on: they are ended first.
    pub(super) fn cut_off(mut self) -> anyhow::Result<()> {
        drop(self.child.stdin.take());
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
    use std::path::PathBuf;

    use super::*;

    /// Returns a folder that no other test and no other user has.
    fn fresh_dir(of: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("drawbridge-sweeper-{of}-{}", new_run()));
        fs::create_dir(&dir).unwrap();
        dir
    }

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
        let dir = fresh_dir("late");
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
    /// Runs a sweeper to its end, with a folder that tests wrote; `docker` is what it is told of containers.
    fn sweep(of: &str, docker: &str, prepare: impl FnOnce(&Path)) -> (std::process::Output, bool) {
        use std::io::Write;
        let dir = fresh_dir(of);
        let written = dir.join("written by tests");
        fs::create_dir_all(written.join("deep")).unwrap();
        prepare(&dir);
        let mut sweeper = Command::new("sh")
            .args(["-c", SWEEP, "sh", "one-run", docker])
            .arg(&written)
            .env("PATH", format!("{}:{}", dir.display(), std::env::var("PATH").unwrap()))
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        sweeper.stdin.take().unwrap().write_all(b"end\n").unwrap();
        let swept = sweeper.wait_with_output().unwrap();
        let is_removed = !written.exists();
        fs::remove_dir_all(&dir).unwrap();
        (swept, is_removed)
    }

    #[test]
    fn where_there_are_no_containers_the_folder_is_removed_and_that_is_all() {
        // As for a user whom the engine refuses: the images were not to be had, and nothing asks it again.
        let refuse = |dir: &Path| {
            let docker = dir.join("docker");
            fs::write(&docker, "#!/bin/sh\necho permission denied >&2\nexit 1\n").unwrap();
            fs::set_permissions(&docker, fs::Permissions::from_mode(0o755)).unwrap();
        };
        // And where there is no `docker` at all.
        let absent = |_: &Path| ();
        for (of, (swept, is_removed)) in
            [("refused", sweep("refused", "", refuse)), ("absent", sweep("absent", "", absent))]
        {
            let said = String::from_utf8_lossy(&swept.stderr).into_owned();
            assert!(swept.status.success() && said.is_empty(), "{of}: {}: {said}", swept.status);
            assert!(is_removed, "{of}: the folder is left");
        }
    }

    #[test]
    fn what_the_tests_left_running_is_ended() {
        let dir = fresh_dir("running");
        let mut left = Command::new("sleep").arg("1000").env("DRAWBRIDGE_TEST_DIR", &dir).spawn().unwrap();
        Sweeper::start(new_run(), false, Some(&dir)).unwrap().end().unwrap();
        assert!(!left.wait().unwrap().success());
        assert!(!dir.exists());
    }

    #[test]
    fn a_sweeper_that_has_nothing_to_do_ends_well() {
        let dir = fresh_dir("folder");
        let folder = dir.join("of the run");
        fs::create_dir(&folder).unwrap();
        for dir in [None, Some(folder.as_path())] {
            Sweeper::start(new_run(), false, dir).unwrap().end().unwrap();
        }
        assert!(!folder.exists());
        fs::remove_dir(dir).unwrap();
    }
}
