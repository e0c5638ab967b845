//! What an image is built from, and the tag that says so.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use xshell::Shell;

use super::Recipe;
use super::debian::Rootfs;
use crate::workspace;

/// The root filesystem's recipe: lists of Debian packages, and a script. Not in the context.
const PACKAGES: &str = "packages";
const OFFLINE: &str = "offline";
const PREPARE: &str = "prepare.sh";

/// Returns `drawbridge/<folder>:<hash>`, the hash over the files and the root filesystem that the image is built from.
pub(super) fn tag(sh: &Shell, recipe: &Recipe) -> anyhow::Result<String> {
    let mut text = rootfs(recipe)?.tag(sh)?;
    for path in files(recipe)? {
        let content = sh.read_file(&path)?;
        let name = file_name(&path);
        text.push_str(&format!("\n{name} {}\n{content}", content.len()));
    }
    Ok(format!("drawbridge/{}:{}", recipe.built, workspace::hash(sh, &text)?))
}

/// Returns the root filesystem that the recipe builds on.
pub(super) fn rootfs(recipe: &Recipe) -> anyhow::Result<Rootfs> {
    let dir = folder(recipe);
    let words = |name| -> anyhow::Result<Vec<String>> {
        Ok(read(&dir.join(name))?.split_whitespace().map(str::to_owned).collect())
    };
    Ok(Rootfs { packages: words(PACKAGES)?, offline: words(OFFLINE)?, prepare: read(&dir.join(PREPARE))? })
}

/// Makes `dir` the build context: these files and nothing else, whatever it held.
pub(super) fn fill(sh: &Shell, recipe: &Recipe, dir: &Path) -> anyhow::Result<()> {
    sh.remove_path(dir)?;
    sh.create_dir(dir)?;
    for path in files(recipe)? {
        sh.copy_file(&path, dir.join(file_name(&path)))?;
    }
    Ok(())
}

fn folder(recipe: &Recipe) -> PathBuf {
    workspace::root().join("tests/images").join(recipe.built)
}

fn files(recipe: &Recipe) -> anyhow::Result<Vec<PathBuf>> {
    let dir = folder(recipe);
    let entries = fs::read_dir(&dir).with_context(|| format!("cannot list `{}`", dir.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("cannot list `{}`", dir.display()))?.path();
        if ![PACKAGES, OFFLINE, PREPARE, "README.md"].contains(&file_name(&path).as_str()) {
            files.push(path);
        }
    }
    files.extend(recipe.shared.iter().map(|path| workspace::root().join(path)));
    files.sort_by_key(|path| file_name(path));
    Ok(files)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Returns the text of a file, empty if there is none.
fn read(path: &Path) -> anyhow::Result<String> {
    if !path.exists() {
        return Ok(String::new());
    }
    fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))
}
