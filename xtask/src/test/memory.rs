//! Room in memory for what tests write: a hundred copies of a cluster of a thousand files each.

use std::fs;
use std::path::{Path, PathBuf};

use xshell::{Shell, cmd};

/// Where Linux has a file system in memory that anybody may write to.
const MEMORY: &str = "/dev/shm";
/// What the tests need at most at a time, twice over, in KiB.
const NEEDED: u64 = 4 << 20;

/// Makes a folder in memory for one run, if there is room for it; what starts from there must be allowed to.
pub(super) fn dir(sh: &Shell, run: &str) -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/mounts").ok()?;
    let free = cmd!(sh, "df -Pk {MEMORY}").quiet().ignore_stderr().read().ok()?;
    let memory = fs::read_to_string("/proc/meminfo").ok()?;
    if !has_room(&mounts, &free, &memory) {
        return None;
    }
    let dir = Path::new(MEMORY).join(format!("drawbridge-test-{run}"));
    fs::create_dir(&dir).ok()?;
    Some(dir)
}

fn has_room(mounts: &str, df: &str, meminfo: &str) -> bool {
    let mount = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let may_execute = mount.rev().find(|mount| mount.get(1) == Some(&MEMORY)).is_some_and(|mount| {
        mount.get(2) == Some(&"tmpfs")
            && mount.get(3).is_some_and(|options| options.split(',').all(|option| option != "noexec"))
    });
    let free =
        df.lines().last().and_then(|line| line.split_whitespace().nth(3)).and_then(|kib| kib.parse().ok());
    let available = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let available =
        available.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse().ok());
    may_execute
        && free.is_some_and(|free: u64| free >= NEEDED)
        && available.is_some_and(|kib: u64| kib >= NEEDED)
}

#[cfg(test)]
mod tests {
    use super::has_room;

    const MOUNTS: &str = "proc /proc proc rw 0 0\ntmpfs /dev/shm tmpfs rw,nosuid,nodev,inode64 0 0\n";
    const DF: &str =
        "Filesystem 1024-blocks Used Available Capacity Mounted on\ntmpfs 12582912 0 12582912 0% /dev/shm\n";
    const MEMINFO: &str = "MemTotal: 24000000 kB\nMemFree: 900000 kB\nMemAvailable: 20000000 kB\n";

    #[test]
    fn there_is_room_where_programs_may_start_and_both_memory_and_file_system_have_it() {
        assert!(has_room(MOUNTS, DF, MEMINFO));
        assert!(!has_room(&MOUNTS.replace("nodev", "nodev,noexec"), DF, MEMINFO));
        assert!(!has_room(&MOUNTS.replace("shm tmpfs", "shm ext4"), DF, MEMINFO));
        assert!(!has_room("", DF, MEMINFO));
        // What Docker gives a container.
        assert!(!has_room(MOUNTS, &DF.replace("12582912", "65536"), MEMINFO));
        assert!(!has_room(MOUNTS, DF, &MEMINFO.replace("20000000", "2000000")));
        assert!(!has_room(MOUNTS, "df: no such file", "nothing"));
    }
}
