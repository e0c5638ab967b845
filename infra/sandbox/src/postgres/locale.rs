//! en_US.UTF-8, the locale of databases on RDS, even where the host does not know it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Error, cache, process};

/// The locale's name.
pub(crate) const NAME: &str = "en_US.UTF-8";
/// The locale that glibc brings everywhere; it sorts by bytes.
const FALLBACK: &str = "/usr/lib/locale/C.utf8";
const BYTEWISE: &str = ".bytewise";

/// Returns the folder that LOCPATH must name, or nothing where the host knows the locale itself.
pub(crate) fn ensure(cache: &Path, progress: &dyn Fn(&str)) -> Result<Option<PathBuf>, Error> {
    if host_knows() {
        return Ok(None);
    }
    let dir = cache.join("locale");
    cache::ensure(&dir, |dir| make(dir, progress))?;
    if dir.join(BYTEWISE).exists() {
        progress(
            "warning: this host cannot make the locale en_US.UTF-8; the sandbox's databases sort by bytes",
        );
    }
    Ok(dir.join(NAME).is_dir().then_some(dir))
}

fn host_knows() -> bool {
    let Ok(known) = process::run(Command::new("locale").arg("-a")) else {
        // No `locale` program: macOS has one and the locale; musl has neither and takes any name.
        return true;
    };
    known.lines().any(|name| name == "en_US.utf8" || name == NAME)
}

fn make(dir: &Path, progress: &dyn Fn(&str)) -> Result<(), Error> {
    progress("making the locale en_US.UTF-8 (once)");
    let target = dir.join(NAME);
    let mut localedef = Command::new("localedef");
    localedef.args(["--no-archive", "-i", "en_US", "-f", "UTF-8"]).arg(&target);
    // localedef also fails after mere warnings, so that its exit status tells nothing.
    process::run(&mut localedef).ok();
    if target.join("LC_COLLATE").is_file() {
        return Ok(());
    }
    let marker = dir.join(BYTEWISE);
    fs::write(&marker, "").map_err(Error::file("create", &marker))?;
    let fallback = Path::new(FALLBACK);
    if fallback.is_dir() {
        process::run(Command::new("cp").arg("-RL").arg(fallback).arg(&target))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locale_is_known_by_the_host_or_made() {
        let root = tempfile::tempdir().unwrap();
        let made = ensure(root.path(), &|_| ()).unwrap();
        assert!(host_knows() || made.is_some_and(|dir| dir.join(NAME).join("LC_CTYPE").is_file()));
    }
}
