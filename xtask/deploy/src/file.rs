//! Files that tasks write: whole or not at all, and for their owner's eyes alone, as they name what is worth attacking.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use db::link;

use crate::failure::Failure;
use crate::leftover;

/// What nobody but the owner reads or writes.
const PRIVATE: u32 = 0o600;

/// Says before the work whether its file can be written after it; leaves nothing behind.
///
/// # Errors
/// Exit 2, naming the file.
pub fn try_writing(path: &Path) -> Result<(), Failure> {
    let tried = match Place::of(path) {
        Ok(Place::Stream) => OpenOptions::new().append(true).open(path).map(drop),
        Ok(Place::File(file)) => Unfinished::beside(&file).map(drop),
        Err(error) => Err(error),
    };
    tried.map_err(|error| Failure::usage(format!("cannot write `{}`: {error}", path.display())))
}

/// Writes a file, or replaces the one that is there, whatever that one let others do.
///
/// # Errors
/// Exit 1, naming the file; what was there before is there still.
pub fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let written = match Place::of(path) {
        Ok(Place::Stream) => {
            OpenOptions::new().append(true).open(path).and_then(|mut file| file.write_all(text.as_bytes()))
        }
        Ok(Place::File(file)) => replace(&file, text),
        Err(error) => Err(error),
    };
    written.map_err(|error| {
        io::Error::new(error.kind(), format!("cannot write `{}`: {error}", path.display())).into()
    })
}

/// Adds to a file that others collect in, or makes it.
///
/// # Errors
/// It cannot be written.
pub fn append(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).mode(PRIVATE).open(path)?;
    file.write_all(text.as_bytes())
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut unfinished = Unfinished::beside(path)?;
    unfinished.file.write_all(text.as_bytes())?;
    unfinished.file.sync_all()?;
    fs::rename(&unfinished.part, path)
}

/// Where a text goes.
enum Place {
    /// A terminal, a pipe or a device: nothing that could be replaced.
    Stream,
    /// A file, there or not, behind all links.
    File(PathBuf),
}

impl Place {
    fn of(path: &Path) -> io::Result<Place> {
        // Behind such a name may be a file that somebody else has open.
        if (path.starts_with("/dev") && !path.starts_with("/dev/shm")) || path.starts_with("/proc") {
            return Ok(Place::Stream);
        }
        stays_inside(path)?;
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
            Ok(found) if found.is_file() => {
                // A file that may not be written is not replaced either.
                OpenOptions::new().append(true).open(path)?;
                fs::canonicalize(path).map(Place::File)
            }
            Ok(_) => Ok(Place::Stream),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Place::File(path.to_owned())),
            Err(error) => Err(error),
        }
    }
}

/// Refuses a link out of the repository: what it leads to would be overwritten.
fn stays_inside(path: &Path) -> io::Result<()> {
    link::check(path).map_err(|error| io::Error::new(io::ErrorKind::PermissionDenied, error.to_string()))
}

/// A private file beside the one that it becomes; removed in the end. As long as it is held, so is a lock on it: who finds it
/// without one knows that its program was killed ([`leftover`]).
pub struct Unfinished {
    file: File,
    part: PathBuf,
}

impl Unfinished {
    /// Makes an empty one.
    ///
    /// # Errors
    /// The folder is not there, or nothing can be made in it.
    pub fn beside(path: &Path) -> io::Result<Unfinished> {
        stays_inside(path)?;
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
        leftover::remove_halves(path);
        let part = path.with_file_name(leftover::part_name(&name, std::process::id()));
        let options = || OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(&part);
        let file = match options() {
            // Of a run that was killed, whose number this one has.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(&part)?;
                options()?
            }
            result => result?,
        };
        // Where there are no locks, what is left of killed runs stays.
        file.try_lock().ok();
        Ok(Unfinished { file, part })
    }

    /// Returns its path, for programs that write by name.
    pub fn path(&self) -> &Path {
        &self.part
    }

    /// Waits until the disk has all that was written, by whomever.
    ///
    /// # Errors
    /// The disk does not take it.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Gives it that name as well, which no file may have yet, and waits until the disk knows it by that. Its first name stays
    /// until it is dropped, and tells the next run that this one has not come to its end.
    ///
    /// # Errors
    /// There is such a file, which stays as it is.
    pub fn become_new(&self, path: &Path) -> io::Result<()> {
        match fs::hard_link(&self.part, path) {
            // Some file systems have no links.
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists && !path.try_exists()? => {
                fs::rename(&self.part, path)?;
            }
            result => result?,
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        match File::open(folder.unwrap_or(Path::new(".")))?.sync_all() {
            // Some file systems know no such thing, and need none.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) =>
            {
                Ok(())
            }
            result => result,
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Gone already where it was renamed.
        fs::remove_file(&self.part).ok();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn fresh_dir(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("drawbridge-file-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir).unwrap().map(|one| one.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_its_owners_alone_and_a_laxer_one_is_never_written_into() {
        let dir = fresh_dir("lax");
        let file = dir.join("report.json");
        try_writing(&file).unwrap();
        assert!(names(&dir).is_empty(), "a try leaves something behind");
        write(&file, "one").unwrap();
        assert_eq!((mode(&file), fs::read_to_string(&file).unwrap()), (0o600, "one".to_owned()));

        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let link = dir.join("link.json");
        symlink(&file, &link).unwrap();
        let mut reader = File::open(&file).unwrap();
        write(&link, "two").unwrap();
        assert_eq!((mode(&file), fs::read_to_string(&file).unwrap()), (0o600, "two".to_owned()));
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        // Whoever had it open when it was lax reads what was in it then.
        assert_eq!(io::read_to_string(&mut reader).unwrap(), "one");
        assert_eq!(names(&dir), ["link.json", "report.json"]);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn what_is_no_file_is_written_to_or_refused_but_never_replaced() {
        let dir = fresh_dir("stream");
        assert!(try_writing(&dir).unwrap_err().render_text().contains("directory"));
        assert!(try_writing(&dir.join("no/such/file")).is_err());
        try_writing(Path::new("/dev/null")).unwrap();
        write(Path::new("/dev/null"), "gone").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn an_unfinished_file_takes_no_other_ones_place() {
        let dir = fresh_dir("new");
        let file = dir.join("shop.dump");
        let first = Unfinished::beside(&file).unwrap();
        fs::write(first.path(), "dump").unwrap();
        first.become_new(&file).unwrap();
        assert_eq!(mode(&file), 0o600);
        let second = Unfinished::beside(&file).unwrap();
        assert_eq!(second.become_new(&file).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        drop((first, second));
        assert_eq!(names(&dir), ["shop.dump"]);
        assert_eq!(fs::read_to_string(&file).unwrap(), "dump");
        fs::remove_dir_all(dir).unwrap();
    }
}
