//! Builds images from packages: root filesystems first, then what stands on them, at the same time where it can be.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::Instant;

use anyhow::Context as _;
use xshell::{Shell, cmd};

use super::debian::{Rootfs, Tool};
use super::{Image, Origin, Recipe, client, context, docker, log};
use crate::workspace;

/// Builds the images. Two runs in one checkout wait for each other.
pub(super) fn all(sh: &Shell, recipes: &[&Recipe]) -> anyhow::Result<Vec<Image>> {
    let dir = workspace::target_dir()?.join("images");
    sh.create_dir(&dir)?;
    let lock = dir.join("lock");
    let lock = File::create(&lock).with_context(|| format!("cannot create `{}`", lock.display()))?;
    lock.lock().context("cannot wait for another `cargo xtask images`")?;

    let mut once: Vec<&Recipe> = Vec::new();
    for recipe in recipes {
        if !once.iter().any(|known| known.built == recipe.built) {
            once.push(recipe);
        }
    }
    let names: Vec<&str> = once.iter().map(|recipe| recipe.built).collect();
    eprintln!("images: building {} from packages, once: a few minutes", names.join(", "));
    let mut roots: Vec<(Rootfs, Mutex<()>)> = Vec::new();
    for recipe in &once {
        let root = context::rootfs(recipe)?;
        if !roots.iter().any(|(known, _)| *known == root) && !docker::is_present(sh, &root.tag(sh)?) {
            roots.push((root, Mutex::new(())));
        }
    }
    let tool = if roots.is_empty() { None } else { Some(Tool::find(sh, &dir)?) };
    let built = at_the_same_time(&once, |sh, recipe| {
        let root = context::rootfs(recipe)?;
        let missing = roots.iter().find(|(missing, _)| *missing == root);
        if let (Some(tool), Some((_, turn))) = (&tool, missing) {
            // Two images may stand on one root: the second waits and finds it made.
            let turn = turn.lock();
            root.build(sh, tool, &dir)?;
            drop(turn);
        }
        build(sh, recipe, &root, &dir)
    });
    forget_stages(sh, &dir)?;
    built?;
    let image = |recipe: &&Recipe| -> anyhow::Result<Image> {
        let (name, variable, reference) = (recipe.name, recipe.variable, context::tag(sh, recipe)?);
        Ok(Image { name, variable, reference, origin: Origin::Built })
    };
    recipes.iter().map(image).collect()
}

/// Builds one image on its root filesystem.
fn build(sh: &Shell, recipe: &Recipe, root: &Rootfs, dir: &Path) -> anyhow::Result<()> {
    let start = Instant::now();
    let tag = context::tag(sh, recipe)?;
    let root = root.tag(sh)?;
    let context = dir.join(recipe.built);
    context::fill(sh, recipe, &context)?;
    client::write(sh, &context)?;
    let log = dir.join(format!("{}.log", recipe.built));
    sh.remove_path(&log)?;
    let mut command = Command::new("docker");
    command.args(["build", "--force-rm", "--tag", &tag]);
    command.args([
        "--build-arg",
        &format!("ROOTFS={root}"),
        "--build-arg",
        &format!("BUILD={}", stage(sh, dir)?),
    ]);
    // By name only: a proxy's password is in no command line.
    for name in client::PROXIES.into_iter().filter(|name| std::env::var_os(name).is_some()) {
        command.args(["--build-arg", name]);
    }
    // The builder that sees the engine's own images, whatever the user's default is.
    command.env("BUILDX_BUILDER", "default").arg(&context);
    let built = log::run(&mut command, &log);
    // It may hold the password of a package index.
    sh.remove_path(&context)?;
    built.with_context(|| format!("cannot build the image `{}`", recipe.built))?;
    eprintln!("images: {}: built in {} s", recipe.built, start.elapsed().as_secs());
    Ok(())
}

/// Removes the stages that images were copied from: they hold this machine's CA bundle and network settings.
fn forget_stages(sh: &Shell, dir: &Path) -> anyhow::Result<()> {
    let label = format!("label=drawbridge.build={}", stage(sh, dir)?);
    cmd!(sh, "docker image prune --force --filter {label}").quiet().ignore_stdout().run()?;
    Ok(())
}

/// Returns a mark for this checkout's build stages, so that it removes nobody else's, and its own of cut-off runs.
fn stage(sh: &Shell, dir: &Path) -> anyhow::Result<String> {
    workspace::hash(sh, &dir.to_string_lossy())
}

/// Does the work for every item on a thread of its own, and returns the results or the first error.
fn at_the_same_time<I: Sync, T: Send>(
    items: &[I],
    work: impl Fn(&Shell, &I) -> anyhow::Result<T> + Sync,
) -> anyhow::Result<Vec<T>> {
    let work = &work;
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            items.iter().map(|item| scope.spawn(move || work(&Shell::new()?, item))).collect();
        let ended: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        ended
            .into_iter()
            .map(|ended| ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}
