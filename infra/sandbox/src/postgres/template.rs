//! A fresh cluster, made once for each major version and copied from then on.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::locale;
use super::programs::Programs;
use super::role::ADMIN;
use crate::{Error, cache};

/// Nobody's data is at stake, so that speed wins over durability. Every statement is logged, to prove that none
/// carries a clear password.
pub(super) const SETTINGS: &str = "
listen_addresses = ''
port = 5432
unix_socket_directories = '../socket'
max_connections = 225
shared_buffers = 16MB
huge_pages = off
fsync = off
synchronous_commit = off
full_page_writes = off
wal_level = minimal
max_wal_senders = 0
max_wal_size = 256MB
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
log_statement = all
log_line_prefix = '%m [%p] %q%u@%d '
password_encryption = 'scram-sha-256'
";

/// The superuser gets in by the private socket alone; the TLS proxy turns it away. Everybody else has a password.
pub(super) const ACCESS: &str = "
local all      rdsadmin trust
local rdsadmin all      reject
local all      all      scram-sha-256
";

/// What RDS has beyond a fresh cluster, one statement a line.
pub(super) const EXTRAS: &str = "\
CREATE DATABASE rdsadmin
CREATE ROLE rds_superuser NOLOGIN
GRANT pg_monitor, pg_signal_backend, pg_checkpoint TO rds_superuser WITH ADMIN OPTION
";

/// Each cluster is a copy of the template: with the usual size of a segment of the log, most of what is copied is empty.
const INITDB: [&str; 7] =
    ["--auth", "trust", "--encoding", "UTF8", "--no-sync", "--no-instructions", "--wal-segsize=1"];

/// Returns the folder of the template, making it if need be.
pub(super) fn ensure(programs: &Programs, cache: &Path) -> Result<PathBuf, Error> {
    // The settings belong to the name: another version of this program makes another template.
    let stamp = stamp(&[SETTINGS, ACCESS, EXTRAS, &INITDB.concat()]);
    let name = format!("postgres-{}-{}-{stamp}", programs.major, programs.account.label());
    let template = cache.join(name);
    cache::ensure(&template, |template| {
        programs.account.create_dir(template)?;
        make(programs, template)
    })?;
    Ok(template.join("data"))
}

fn make(programs: &Programs, template: &Path) -> Result<(), Error> {
    let data = template.join("data");
    let mut initdb = programs.command(programs.path("initdb"));
    initdb.args(INITDB).args(["--username", ADMIN, "--locale", locale::NAME, "-D"]).arg(&data);
    initdb.current_dir(template);
    crate::process::run(&mut initdb)?;

    let settings = data.join("postgresql.conf");
    let mut file =
        fs::File::options().append(true).open(&settings).map_err(Error::file("open", &settings))?;
    file.write_all(SETTINGS.as_bytes()).map_err(Error::file("write", &settings))?;
    let access = data.join("pg_hba.conf");
    fs::write(&access, ACCESS).map_err(Error::file("write", &access))?;

    let statements = template.join("extras.sql");
    fs::write(&statements, EXTRAS).map_err(Error::file("write", &statements))?;
    let input = fs::File::open(&statements).map_err(Error::file("open", &statements))?;
    let mut single = programs.command(programs.path("postgres"));
    single.arg("--single").arg("-D").arg(&data).arg("postgres").current_dir(template);
    crate::process::run(single.stdin(Stdio::from(input)))?;
    Ok(())
}

fn stamp(texts: &[&str]) -> String {
    use sha2::{Digest, Sha256};
    let digest = texts.iter().fold(Sha256::new(), |digest, text| digest.chain_update(text)).finalize();
    digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}
