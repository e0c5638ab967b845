//! Looks for texts in files.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Returns the files under a folder, whatever they hold, in which one of these is.
///
/// By `grep`, and the needles on its standard input: a hundred passwords in a hundred megabytes of a server's files take an
/// unoptimised test a minute.
///
/// # Panics
/// If there is no `grep`.
pub fn files_with<'a>(dir: &Path, needles: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut grep = Command::new("grep")
        .args(["-r", "-l", "-s", "-F", "-f", "-", "--"])
        .arg(dir)
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("there is a grep");
    let lines: String = needles.into_iter().map(|needle| format!("{needle}\n")).collect();
    assert!(!lines.is_empty(), "nothing is looked for");
    grep.stdin.take().expect("it is piped").write_all(lines.as_bytes()).expect("grep reads them");
    let found = grep.wait_with_output().expect("grep ends").stdout;
    String::from_utf8_lossy(&found).lines().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::files_with;

    #[test]
    fn what_is_between_other_bytes_is_found() {
        let dir = crate::fresh_dir();
        let inner = dir.join("base");
        std::fs::create_dir_all(&inner).expect("the folder can be made");
        std::fs::write(inner.join("1"), b"\0\xff\nleft-of-it sEcret.*right\0\n")
            .expect("the file can be written");
        std::fs::write(dir.join("2"), b"nothing").expect("the file can be written");
        let found = files_with(&dir, ["not there", "sEcret.*"]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].ends_with("/base/1"), "{found:?}");
        assert!(files_with(&dir, ["secret.*", "left.of"]).is_empty());
        std::fs::remove_dir_all(&dir).expect("the folder can be removed");
    }
}
