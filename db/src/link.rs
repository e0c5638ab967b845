//! Links that lead out of a repository.
//!
//! Who may change a repository need not be who runs what is in it: a pull request can make a file of migrations a link to a key
//! of the machine that checks it. What is written on the command line is followed wherever it leads.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::Error;

/// Refuses a path on whose way a link leads out of the repository that the link lies in. What is not there leads nowhere.
///
/// # Errors
/// [`Error::LeadsOut`] says where to; [`Error::Read`] if it cannot be followed.
pub fn check(path: &Path) -> Result<(), Error> {
    match follow(path) {
        Ok(End::Out(target)) => Err(Error::LeadsOut { path: path.to_owned(), target }),
        Ok(End::In(_)) => Ok(()),
        Err(source) => Err(Error::Read { path: path.to_owned(), source }),
    }
}

/// Tells whether a file lies outside of the repository of another, which names it: `..` and `/` lead there without a link.
pub fn is_outside(path: &Path, of: &Path) -> bool {
    let Ok(End::In(Some(repository))) = follow(of) else { return false };
    fs::canonicalize(path).is_ok_and(|path| !path.starts_with(repository))
}

/// Where a path ends.
enum End {
    /// In this repository, or in none.
    In(Option<PathBuf>),
    /// Behind a link that leads out of a repository.
    Out(PathBuf),
}

fn follow(path: &Path) -> io::Result<End> {
    let path = std::path::absolute(path)?;
    let mut so_far = PathBuf::new();
    // The innermost that the way has come into.
    let mut repository: Option<PathBuf> = None;
    for component in path.components() {
        so_far.push(component);
        let found = match fs::symlink_metadata(&so_far) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(End::In(repository)),
            Err(error) => return Err(error),
        };
        // A link to nothing would be written through.
        let target = match fs::canonicalize(&so_far) {
            Ok(target) => target,
            Err(error) if error.kind() == io::ErrorKind::NotFound && found.is_symlink() => {
                let target = fs::read_link(&so_far)?;
                return Ok(if repository.is_some() { End::Out(target) } else { End::In(None) });
            }
            Err(error) => return Err(error),
        };
        if repository.as_ref().is_some_and(|repository| !target.starts_with(repository)) {
            match component {
                // Whoever wrote that knows where it leads.
                Component::ParentDir => repository = None,
                Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::Normal(_) => {
                    return Ok(End::Out(target));
                }
            }
        }
        if so_far.join(".git").exists() {
            repository = Some(target);
        }
    }
    Ok(End::In(repository))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_stays_in_its_repository_or_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (inside, outside) = (dir.path().join("repo"), dir.path().join("outside"));
        fs::create_dir_all(inside.join(".git")).unwrap();
        fs::create_dir_all(inside.join("db")).unwrap();
        fs::create_dir_all(outside.join(".git")).unwrap();
        fs::write(outside.join("key"), "key").unwrap();
        fs::write(inside.join("db/a"), "a").unwrap();
        symlink(outside.join("key"), inside.join("db/file")).unwrap();
        symlink(&outside, inside.join("folder")).unwrap();
        symlink("../db/a", inside.join("db/own")).unwrap();
        symlink(outside.join("new"), inside.join("dangling")).unwrap();
        symlink(&inside, dir.path().join("checkout")).unwrap();
        let leads_out = |path: &Path| matches!(check(path), Err(Error::LeadsOut { .. }));
        for path in ["db/file", "folder/key", "folder", "dangling"] {
            assert!(leads_out(&inside.join(path)), "{path}");
            assert!(leads_out(&dir.path().join("checkout").join(path)), "{path}");
        }
        for path in ["db/a", "db/own", "db/new", "new/new", "../outside/key", "db/../../outside/key"] {
            assert!(check(&inside.join(path)).is_ok(), "{path}");
        }
        assert!(check(&outside.join("key")).is_ok());
        assert!(is_outside(&outside.join("key"), &inside.join("db/a")));
        assert!(!is_outside(&inside.join("db/own"), &inside.join("db/a")));
        assert!(!is_outside(&outside.join("key"), &dir.path().join("in no repository")));
    }
}
