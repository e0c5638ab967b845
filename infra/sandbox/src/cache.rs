//! Things that are made once and shared by every sandbox: virtual environment, locale, templates.

use std::fs::{self, File};
use std::path::Path;

use crate::Error;

/// The file that says that its folder is complete.
const COMPLETE: &str = ".complete";

/// Says whether the folder was made to its end.
pub(crate) fn is_complete(dir: &Path) -> bool {
    dir.join(COMPLETE).is_file()
}

/// Makes the folder `dir` with `make`, unless it is complete. What another process left half-made is made anew.
///
/// A lock file beside the folder makes processes wait for one another, so that the work is done once.
pub(crate) fn ensure(dir: &Path, make: impl FnOnce(&Path) -> Result<(), Error>) -> Result<(), Error> {
    if is_complete(dir) {
        return Ok(());
    }
    let parent = dir.parent().unwrap_or(dir);
    fs::create_dir_all(parent).map_err(Error::file("create", parent))?;
    let lock_path = dir.with_extension("lock");
    let lock = File::create(&lock_path).map_err(Error::file("create", &lock_path))?;
    lock.lock().map_err(Error::file("lock", &lock_path))?;
    // Another process may have made it while this one waited.
    if is_complete(dir) {
        return Ok(());
    }
    if dir.exists() {
        fs::remove_dir_all(dir).map_err(Error::file("remove", dir))?;
    }
    fs::create_dir_all(dir).map_err(Error::file("create", dir))?;
    make(dir)?;
    let marker = dir.join(COMPLETE);
    File::create(&marker).map_err(Error::file("create", &marker))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_half_made_is_made_anew() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("thing");
        let cut_off = ensure(&dir, |dir| {
            fs::write(dir.join("half"), "").unwrap();
            Err(Error::NoPython)
        });
        assert!(cut_off.is_err());
        ensure(&dir, |dir| {
            assert!(!dir.join("half").exists());
            fs::write(dir.join("whole"), "").map_err(Error::file("write", dir))
        })
        .unwrap();
        ensure(&dir, |_| panic!("it is complete")).unwrap();
        assert!(dir.join("whole").exists());
    }

    #[test]
    fn those_that_come_at_the_same_time_share_one_making() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("thing");
        let made = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    ensure(&dir, |_| {
                        made.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        Ok(())
                    })
                    .unwrap();
                });
            }
        });
        assert_eq!(made.into_inner(), 1);
    }
}
