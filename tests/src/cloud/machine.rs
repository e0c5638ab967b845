//! A bastion's own system, in a container that systemd runs, for what happens on it rather than through it.

use super::docker::{Images, LABEL, docker, try_docker};

/// A container of the bastion's image with systemd as its first process.
#[derive(Debug)]
pub struct Machine {
    id: String,
}

/// Images that can be pulled come without an init, and can install one.
const BOOT: &str =
    "command -v /sbin/init >/dev/null || dnf install --assumeyes --quiet systemd procps-ng util-linux
exec /sbin/init SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1";

/// Some unit or other has no place in a container: `degraded` is as good. The exit code does not tell that from a systemd
/// that cannot be asked yet.
const BOOTED: &str = "for i in $(seq 600); do
    case $(systemctl is-system-running --wait 2>/dev/null) in running | degraded) exit 0 ;; esac
    sleep 0.1
done
exit 1";

impl Machine {
    /// Boots it.
    pub async fn boot(images: &Images) -> Machine {
        let (name, label) = (images.name("machine"), format!("{LABEL}={}", images.run));
        let image = format!("{}:{}", images.bastion.name, images.bastion.tag);
        let mut args = vec!["run", "--detach", "--name", &name, "--label", &label];
        args.extend(["--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp"]);
        // Without privileges: systemd then leaves the host's kernel alone.
        args.extend(match docker(&["info", "--format", "{{.CgroupVersion}}"]).await.as_str() {
            "1" => &["--volume", "/sys/fs/cgroup:/sys/fs/cgroup:ro"][..],
            _ => &["--volume", "/sys/fs/cgroup:/sys/fs/cgroup:rw", "--cgroupns", "host"][..],
        });
        args.extend([&image, "sh", "-c", BOOT]);
        let machine = Machine { id: docker(&args).await };
        machine.run(BOOTED).await.expect("it boots");
        machine
    }

    /// Runs a script on it and returns what it printed.
    ///
    /// # Errors
    /// What it said, if it failed.
    pub async fn run(&self, script: &str) -> Result<String, String> {
        try_docker(&["exec", &self.id, "bash", "-c", script], "").await
    }

    /// Writes a file that can be run.
    pub async fn write(&self, path: &str, contents: &str) {
        let write = format!("cat >{path} && chmod 755 {path}");
        let args = ["exec", "--interactive", &self.id, "sh", "-c", &write];
        try_docker(&args, contents).await.expect("a file can be written");
    }

    /// Says whether it still runs.
    pub async fn is_running(&self) -> bool {
        docker(&["inspect", "--format", "{{.State.Running}}", &self.id]).await == "true"
    }

    /// Waits until it has switched itself off.
    pub async fn wait_until_off(&self) {
        docker(&["wait", &self.id]).await;
    }

    /// Removes it.
    pub async fn remove(self) {
        docker(&["rm", "--force", "--volumes", &self.id]).await;
    }
}
