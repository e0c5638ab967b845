//! The processes that a process has started, and those that they have started.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid};

/// How long it is tried. What another user runs (by `sudo`) cannot be killed.
const LIMIT: Duration = Duration::from_secs(5);
/// Between two tries: what is killed is not gone at once.
const PAUSE: Duration = Duration::from_millis(2);

/// Kills the child and all that it has started, and whatever they start meanwhile.
///
/// On Linux this process inherits what they leave behind, so that nobody gets away. Other systems tell us of the child alone.
pub(super) fn kill_all(child: Pid) {
    let began = Instant::now();
    // Once: when it has been waited for, its number may be somebody else's.
    kill(child, Signal::SIGKILL).ok();
    while began.elapsed() < LIMIT {
        for pid in descendants(&parents(), getpid()) {
            kill(pid, Signal::SIGKILL).ok();
        }
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Err(Errno::ECHILD) => return,
                Ok(WaitStatus::StillAlive) | Err(_) => break,
                Ok(_) => {}
            }
        }
        std::thread::sleep(PAUSE);
    }
}

/// Returns each process's parent; nothing where there is no `/proc`.
fn parents() -> HashMap<Pid, Pid> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let stats = entries.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        Some((Pid::from_raw(pid), parse_parent(&stat)?))
    });
    stats.collect()
}

/// Returns the parent's id in `7 (a name) S 3 ..`, whatever the name is (proc(5)).
fn parse_parent(stat: &str) -> Option<Pid> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok().map(Pid::from_raw)
}

fn descendants(parents: &HashMap<Pid, Pid>, of: Pid) -> Vec<Pid> {
    let mut found = vec![of];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(parents.iter().filter(|(_, of)| **of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found.split_off(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_found_behind_any_name() {
        assert_eq!(parse_parent("7 (sh) S 3 7 3 0 -1"), Some(Pid::from_raw(3)));
        assert_eq!(parse_parent("7 (a) S 1 (b) S 9 7 3"), Some(Pid::from_raw(9)));
        assert_eq!(parse_parent("7 (sh"), None);
    }

    #[test]
    fn all_that_a_process_has_started_is_found_and_nobody_else() {
        let pid = Pid::from_raw;
        let parents = [(2, 1), (3, 2), (4, 3), (5, 2), (6, 1)];
        let parents = parents.map(|(own, parent)| (pid(own), pid(parent))).into();
        let mut found = descendants(&parents, pid(2));
        found.sort();
        assert_eq!(found, [pid(3), pid(4), pid(5)]);
        assert!(descendants(&parents, pid(4)).is_empty());
    }
}
