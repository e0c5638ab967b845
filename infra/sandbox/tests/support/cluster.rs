//! The cluster that tests start.

use std::path::Path;

use sandbox::gateway::Password;
use sandbox::{ClusterSpec, Programs};

use crate::support::{cache, runtime};

/// The endpoint of the databases in these tests. It resolves nowhere.
pub(crate) const ENDPOINT: &str = "main.c0ffee.us-east-1.rds.amazonaws.com";
pub(crate) const MASTER: &str = "master";
pub(crate) const PASSWORD: &str = "correct horse battery staple";

pub(crate) fn programs(dir: &Path, major: u16) -> Programs {
    Programs::wheel(&runtime(), major, &cache(), dir, &|line| println!("{line}")).unwrap()
}

pub(crate) fn spec(dir: &Path) -> ClusterSpec {
    ClusterSpec {
        dir: dir.join("cluster"),
        log: dir.join("postgres.log"),
        master_user: MASTER.to_owned(),
        master_password: Password::new(PASSWORD),
        database: Some("first".to_owned()),
    }
}
