//! A cluster in a container, for hosts where neither the wheel nor an installed PostgreSQL will do.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::scripts::{PREPARE, SERVE};
use super::template;
use crate::Error;

/// Makes the folder for the socket, which is all that is shared, and returns the command that serves the cluster.
pub(super) fn prepare(image: &str, dir: &Path) -> Result<Command, Error> {
    let socket = dir.join("socket");
    fs::create_dir_all(&socket).map_err(Error::file("create", &socket))?;
    // The server in the container has another number than we; the folder above keeps others out.
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o777))
        .map_err(Error::file("open up", &socket))?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(Error::file("restrict", dir))?;

    let mut command = Command::new("docker");
    command.args(["run", "--rm", "--interactive", "--network", "none", "--volume"]);
    command.arg(format!("{}:/cluster/socket", socket.display()));
    let variables = [
        ("SERVE", SERVE),
        ("SETTINGS", template::SETTINGS),
        ("ACCESS", template::ACCESS),
        ("EXTRAS", template::EXTRAS),
    ];
    for (name, value) in variables {
        command.args(["--env", &format!("{name}={value}")]);
    }
    command.args(["--entrypoint", "sh", image, "-c", PREPARE]);
    Ok(command)
}
