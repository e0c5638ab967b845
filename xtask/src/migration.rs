//! `migration new`: makes the next migration file.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use xtask::MigrationNew;

use crate::workspace::{self, Usage};

/// Creates `V<n>__<name>.sql` after the highest version there is, and prints its path.
///
/// # Errors
/// A name that refinery would skip with only a log line is refused.
pub(crate) fn new(new: &MigrationNew) -> anyhow::Result<ExitCode> {
    let name = &new.name;
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let edge =
        name.starts_with(['_', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']) || name.ends_with('_');
    if name.is_empty() || name.len() > 100 || !name.chars().all(fits) || edge {
        let shown: String = name.escape_debug().take(60).collect();
        let message =
            format!("`{shown}` does not fit; use lower-case words with underscores, such as `add_orders`");
        return Err(Usage(message).into());
    }
    let dir = new.dir.clone().unwrap_or_else(|| workspace::root().join("db").join("migrations"));
    if !dir.is_dir() {
        return Err(Usage(format!("`{}` is not a folder; name one with `--dir`", dir.display())).into());
    }
    let path = dir.join(format!("V{}__{name}.sql", highest_version(&dir)? + 1));
    let mut file =
        fs::File::create_new(&path).with_context(|| format!("cannot create `{}`", path.display()))?;
    file.write_all(b"-- Runs in one transaction, as the tenant's role.\n")?;
    println!("{}", path.display());
    Ok(ExitCode::SUCCESS)
}

fn highest_version(dir: &Path) -> anyhow::Result<u32> {
    let mut highest = 0;
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read `{}`", dir.display()))? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        let Some((version, _)) = name.strip_prefix(['V', 'U']).and_then(|rest| rest.split_once("__")) else {
            continue;
        };
        highest = highest.max(version.parse().unwrap_or(0));
    }
    Ok(highest)
}
