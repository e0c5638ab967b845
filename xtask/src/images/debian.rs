//! Root filesystems of Debian, by mmdebstrap: what the images stand on where no image can be pulled.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use xshell::{Shell, cmd};

use super::{Missing, client, docker, log};
use crate::workspace;

const SUITE: &str = "trixie";
/// Debian's own mirror, if this machine's apt uses no other; `DRAWBRIDGE_DEBIAN_MIRROR` names another.
const MIRROR: &str = "http://deb.debian.org/debian";
const MIRROR_VARIABLE: &str = "DRAWBRIDGE_DEBIAN_MIRROR";
/// A container's disk is not worth a sync, and nobody reads manuals in it.
const DPKG_OPTIONS: [&str; 10] = [
    "force-unsafe-io",
    // PostgreSQL's just-in-time compiler, a third of its image: it does without where this is missing.
    "path-exclude=/usr/lib/*/libLLVM*",
    "path-exclude=/usr/lib/*/libz3.so*",
    "path-exclude=/usr/lib/postgresql/*/lib/bitcode/*",
    "path-exclude=/usr/lib/postgresql/*/lib/llvmjit*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/man/*",
];
/// How apt reached the network is this machine's, not the image's.
const FORGET: &str = r#"rm -f "$1/etc/apt/apt.conf.d/99mmdebstrap""#;
/// Leaves packages in the root that are not installed.
const OFFLINE: &str = include_str!("../../../tests/images/offline.sh");
const KEYRINGS: [&str; 2] =
    ["/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp"];

/// What is in a root filesystem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rootfs {
    /// Installed beside Debian's minimal base.
    pub(super) packages: Vec<String>,
    /// In it as files only.
    pub(super) offline: Vec<String>,
    /// A script that is given the root before the packages are installed, or nothing.
    pub(super) prepare: String,
}

impl Rootfs {
    /// Returns `drawbridge/debian:<hash>`.
    pub(super) fn tag(&self, sh: &Shell) -> anyhow::Result<String> {
        Ok(format!("drawbridge/debian:{}", workspace::hash(sh, &self.arguments().join("\n"))?))
    }

    /// Makes the root filesystem and imports it, unless the engine has it.
    pub(super) fn build(&self, sh: &Shell, tool: &Tool, dir: &Path) -> anyhow::Result<()> {
        let tag = self.tag(sh)?;
        if docker::is_present(sh, &tag) {
            return Ok(());
        }
        let start = Instant::now();
        eprintln!("images: Debian with {} ..", self.packages.join(", "));
        let name = tag.replace(['/', ':'], "-");
        let (tar, log) = (dir.join(format!("{name}.tar")), dir.join(format!("{name}.log")));
        let mut command = tool.command();
        command.args(self.arguments()).args(apt_options(sh)).arg(SUITE).arg(&tar).arg(mirror(sh));
        let mut import = Command::new("docker");
        import.args(["import", "--change", "LABEL drawbridge=image"]).arg(&tar).arg(&tag);
        sh.remove_path(&log)?;
        let built = log::run(&mut command, &log).and_then(|()| log::run(&mut import, &log));
        sh.remove_path(&tar)?;
        built?;
        eprintln!(
            "images: Debian with {}: made in {} s",
            self.packages.join(", "),
            start.elapsed().as_secs()
        );
        Ok(())
    }

    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["--variant=minbase".to_owned(), "--format=tar".to_owned()];
        arguments.push(format!("--include={}", self.packages.join(",")));
        arguments.extend(DPKG_OPTIONS.map(|option| format!("--dpkgopt={option}")));
        if !self.prepare.is_empty() {
            arguments.push(format!("--essential-hook={}", self.prepare));
        }
        if !self.offline.is_empty() {
            let names = self.offline.join(" ");
            arguments.push(format!("--customize-hook=set -- \"$1\" {names}\n{OFFLINE}"));
        }
        arguments.push(format!("--customize-hook={FORGET}"));
        arguments
    }
}

/// mmdebstrap, and how this user may run it.
pub(super) struct Tool {
    program: PathBuf,
    keyring: Option<PathBuf>,
    mode: Mode,
}

enum Mode {
    Root,
    Sudo,
    /// In a user namespace, with the numbers that /etc/subuid gives the user.
    Unshare,
}

impl Tool {
    /// Finds mmdebstrap, or unpacks it into `dir` where apt can download it. Installs nothing.
    ///
    /// # Errors
    /// [`Missing`] that names what is missing and the command that installs it.
    pub(super) fn find(sh: &Shell, dir: &Path) -> anyhow::Result<Tool> {
        let mode = if cmd!(sh, "id -u").quiet().read()? == "0" {
            Mode::Root
        } else if workspace::succeeds(cmd!(sh, "sudo --non-interactive true")) {
            Mode::Sudo
        } else if workspace::succeeds(cmd!(sh, "unshare --user --map-auto --setuid 0 true")) {
            Mode::Unshare
        } else {
            let text = "building images needs root, `sudo` without a password, or user namespaces with numbers in \
                /etc/subuid for your user; install the last with `apt-get install uidmap`, or run \
                `cargo xtask images` once as root";
            return Err(Missing(text.to_owned()).into());
        };
        let installed = workspace::succeeds(cmd!(sh, "mmdebstrap --version"));
        let program = if installed {
            PathBuf::from("mmdebstrap")
        } else {
            download(sh, dir, "mmdebstrap")?.join("usr/bin/mmdebstrap")
        };
        let known = KEYRINGS.into_iter().any(|path| Path::new(path).is_file());
        let keyring = if known {
            None
        } else {
            Some(download(sh, dir, "debian-archive-keyring")?.join(KEYRINGS[0].trim_start_matches('/')))
        };
        Ok(Tool { program, keyring, mode })
    }

    fn command(&self) -> Command {
        let mut command = match self.mode {
            Mode::Root | Mode::Unshare => Command::new(&self.program),
            Mode::Sudo => {
                let mut command = Command::new("sudo");
                let kept = client::PROXIES.join(",");
                command.args(["--non-interactive", &format!("--preserve-env=PATH,TMPDIR,{kept}")]);
                command.arg(&self.program);
                command
            }
        };
        command.arg(match self.mode {
            Mode::Root | Mode::Sudo => "--mode=root",
            Mode::Unshare => "--mode=unshare",
        });
        if let Some(keyring) = &self.keyring {
            command.arg("--keyring").arg(keyring);
        }
        // It calls programs that lie beside it.
        if let Some(own) = self.program.parent().filter(|own| !own.as_os_str().is_empty()) {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let folders = std::iter::once(own.to_owned()).chain(std::env::split_paths(&path));
            command.env("PATH", std::env::join_paths(folders).unwrap_or(path));
        }
        command
    }
}

/// Downloads a package with this machine's apt, which checks its signature, and returns the folder it is unpacked in.
fn download(sh: &Shell, dir: &Path, package: &str) -> anyhow::Result<PathBuf> {
    let folder = dir.join(package);
    sh.remove_path(&folder)?;
    sh.create_dir(&folder)?;
    let _folder = sh.push_dir(&folder);
    eprintln!("images: {package} is not installed; unpacking it into `{}`", folder.display());
    let downloaded = workspace::succeeds(cmd!(sh, "apt-get download {package}"))
        || (fresh_lists(sh, dir)
            .is_some_and(|options| workspace::succeeds(cmd!(sh, "apt-get {options...} download {package}"))));
    let file =
        sh.read_dir(&folder)?.into_iter().find(|path| path.extension().is_some_and(|end| end == "deb"));
    let unpacked = file.is_some_and(|file| workspace::succeeds(cmd!(sh, "dpkg-deb --extract {file} .")));
    if downloaded && unpacked {
        return Ok(folder.clone());
    }
    let text = format!(
        "`{package}` is missing and apt cannot download it; install it with `apt-get update && apt-get install \
         mmdebstrap debian-archive-keyring` (Fedora: `dnf install mmdebstrap debian-keyring`)"
    );
    Err(Missing(text).into())
}

/// Asks the mirrors what they have, in a folder of our own: where apt was never updated, it knows no package.
fn fresh_lists(sh: &Shell, dir: &Path) -> Option<[String; 4]> {
    let lists = dir.join("apt");
    sh.create_dir(lists.join("lists/partial")).ok()?;
    sh.create_dir(lists.join("cache/archives/partial")).ok()?;
    let lists = lists.display();
    let options = [
        "-o".to_owned(),
        format!("Dir::State::Lists={lists}/lists"),
        "-o".to_owned(),
        format!("Dir::Cache={lists}/cache"),
    ];
    let update = &options;
    workspace::succeeds(cmd!(sh, "apt-get {update...} update")).then_some(options)
}

/// Returns the mirror that this machine's apt has Debian from.
fn mirror(sh: &Shell) -> String {
    if let Ok(named) = std::env::var(MIRROR_VARIABLE) {
        return named;
    }
    let format = "$(ORIGIN) $(LABEL) $(REPO_URI)";
    let targets = cmd!(sh, "apt-get indextargets --format {format}").quiet().ignore_stderr().read();
    let targets = targets.unwrap_or_default();
    let debian = targets.lines().find_map(|line| line.strip_prefix("Debian Debian "));
    debian.unwrap_or(MIRROR).to_owned()
}

/// Returns how this machine's apt reaches the network.
fn apt_options(sh: &Shell) -> Vec<String> {
    let known = cmd!(sh, "apt-config dump").quiet().ignore_stderr().read().unwrap_or_default();
    let wanted = ["Acquire::http::Proxy", "Acquire::https::Proxy", "Acquire::https::CAInfo"];
    let lines = known.lines().filter(|line| wanted.iter().any(|name| line.starts_with(name)));
    let mut options: Vec<String> = lines.map(|line| format!("--aptopt={line}")).collect();
    if let Some(bundle) = client::named_bundle() {
        options.push(format!("--aptopt=Acquire::https::CAInfo \"{}\"", bundle.display()));
    }
    options
}
