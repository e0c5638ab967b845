//! What killed runs left beside the files that they were to write.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

/// A file under its first name whose program is gone.
#[derive(Debug, PartialEq, Eq)]
pub struct Leftover {
    /// Its first name.
    pub part: PathBuf,
    /// The name that it was to have.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Whether it has that name as well: it was whole, and its run was killed after that.
    pub is_whole: bool,
}

impl Leftover {
    /// Takes the first name away; one that is whole keeps the other.
    ///
    /// # Errors
    /// The folder may not be written to.
    pub fn remove(&self) -> io::Result<()> {
        fs::remove_file(&self.part)
    }
}

/// Returns the first name of a file, which hides it from `ls` and says whose it is.
pub(crate) fn part_name(name: &str, process: u32) -> String {
    format!(".{name}.{process}.part")
}

/// Returns the name and the process in a first name.
fn parse(part: &str) -> Option<(&str, i32)> {
    let (name, process) = part.strip_prefix('.')?.strip_suffix(".part")?.rsplit_once('.')?;
    Some((name, process.parse().ok().filter(|process| *process > 0)?))
}

/// Returns what killed runs left in a folder of files with such names. What cannot be seen is not returned.
pub fn find(folder: &Path, is_wanted: impl Fn(&str) -> bool) -> Vec<Leftover> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let found = entries.flatten().filter_map(|entry| {
        let part = entry.file_name();
        let (name, process) = parse(part.to_str()?)?;
        let is_left = is_wanted(name) && entry.file_type().is_ok_and(|kind| kind.is_file());
        if !is_left || !is_gone(process) || !is_free(&entry.path()) {
            return None;
        }
        let (metadata, path) = (entry.metadata().ok()?, folder.join(name));
        let same = |other: fs::Metadata| (other.dev(), other.ino()) == (metadata.dev(), metadata.ino());
        let is_whole = fs::symlink_metadata(&path).is_ok_and(same);
        Some(Leftover { part: folder.join(&part), path, bytes: metadata.len(), is_whole })
    });
    let mut found: Vec<Leftover> = found.collect();
    found.sort_by(|one, other| one.part.cmp(&other.part));
    found
}

/// Removes what killed runs have half written of a file.
pub(crate) fn remove_halves(path: &Path) {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return };
    for left in find(folder, |found| *name == *found) {
        if !left.is_whole {
            // It is in nobody's way.
            left.remove().ok();
        }
    }
}

/// Tells whether there is no process of that number here. One of another machine or container is told by its lock.
fn is_gone(process: i32) -> bool {
    kill(Pid::from_raw(process), None) == Err(Errno::ESRCH)
}

/// Tells whether nobody has it locked; no if that cannot be known.
fn is_free(part: &Path) -> bool {
    File::open(part).is_ok_and(|file| file.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::file::Unfinished;

    /// Returns the number of a process that was there.
    fn dead() -> u32 {
        let mut child = Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        child.id()
    }

    #[test]
    fn what_a_killed_run_left_is_told_from_what_a_living_one_writes() {
        let dir = std::env::temp_dir().join(format!("drawbridge-leftover-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let (half, whole) = (dir.join("half.dump"), dir.join("whole.dump"));
        let part =
            |path: &Path| path.with_file_name(part_name(path.file_name().unwrap().to_str().unwrap(), dead()));
        fs::write(part(&half), "hal").unwrap();
        fs::write(&whole, "whole").unwrap();
        let link = part(&whole);
        fs::hard_link(&whole, &link).unwrap();
        // A living program's, by its lock alone: its number may be another machine's.
        let elsewhere = part(&dir.join("elsewhere.dump"));
        fs::write(&elsewhere, "").unwrap();
        let held = File::open(&elsewhere).unwrap();
        held.lock().unwrap();
        let living = Unfinished::beside(&dir.join("living.dump")).unwrap();
        fs::write(dir.join(".notes.part"), "").unwrap();

        let found = find(&dir, |name| name.ends_with(".dump"));
        let seen: Vec<_> = found.iter().map(|left| (left.path.clone(), left.bytes, left.is_whole)).collect();
        assert_eq!(seen, [(half.clone(), 3, false), (whole.clone(), 5, true)]);
        assert_eq!(find(&dir, |name| name == "other.dump"), []);

        drop(Unfinished::beside(&half).unwrap());
        drop(Unfinished::beside(&whole).unwrap());
        assert_eq!(find(&dir, |_| true).len(), 1, "a half is removed, a whole one is not");
        found[1].remove().unwrap();
        assert_eq!(fs::read_to_string(&whole).unwrap(), "whole");
        drop((held, living));
        fs::remove_dir_all(dir).unwrap();
    }
}
