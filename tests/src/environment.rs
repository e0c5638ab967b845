//! What the tests find on this machine: folders, programs, and what they may skip.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Returns one of PostgreSQL's programs that was built with TLS: those of the system, not of the sandbox's wheel.
pub fn postgres_program(name: &str) -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> =
        std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
    if let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") {
        folders.extend(versions.flatten().map(|version| version.path().join("bin")));
    }
    folders.into_iter().map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Says whether tests that go through hundreds of cases go through all of them: where `DRAWBRIDGE_TEST_SWEEP` is `full`, as in
/// CI. Otherwise they take some.
pub fn sweeps_fully() -> bool {
    std::env::var("DRAWBRIDGE_TEST_SWEEP").is_ok_and(|sweep| sweep == "full")
}

/// Says that a test is skipped, and why. Whoever runs tests on a machine of their own may lack something.
///
/// # Panics
/// `CI` is set, to anything but `false`: there nothing is skipped.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
pub fn skip(why: &str) {
    let is_ci = std::env::var_os("CI").is_some_and(|ci| !ci.is_empty() && ci != "false");
    assert!(!is_ci, "{why}; where CI is set nothing is skipped");
    eprintln!("skipped: {why}");
}

/// Names a folder for all that tests write, which lies in memory where `cargo xtask test` finds room there.
const DIR_VARIABLE: &str = "DRAWBRIDGE_TEST_DIR";

/// Returns a folder that no other test has.
pub fn fresh_dir() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let base = std::env::var_os(DIR_VARIABLE).map_or_else(sandboxes, PathBuf::from);
    let dir = base.join(format!("test-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("the folder can be written to");
    dir
}

/// Returns the folder that sandboxes share.
pub fn sandboxes() -> PathBuf {
    target().parent().expect("a profile lies in the target directory").join("sandbox")
}

/// Returns the folder of the profile that this test was built in.
///
/// # Panics
/// It is no test.
pub fn target() -> PathBuf {
    let own = std::env::current_exe().expect("a test has a path");
    own.parent().and_then(Path::parent).expect("a test lies in `deps`").to_owned()
}
