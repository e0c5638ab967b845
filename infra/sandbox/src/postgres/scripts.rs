//! The shell scripts that run a cluster's server.

/// Serves a cluster until its standard input ends.
pub(super) const SERVE: &str = include_str!("serve.sh");

/// Runs as the container's root, then as its user `postgres`. Data stay inside.
pub(super) const PREPARE: &str = include_str!("docker.sh");
