//! Arguments of the tasks on the databases: tenants, migrations, passwords, releases.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};

/// `tenant ..`
#[derive(Debug, Subcommand)]
pub enum Tenant {
    /// Lists the databases on the server beside those of the stack file
    List,
    /// Creates roles, secrets and databases; what is there already stays as it is
    Create(TenantCreate),
    /// Checks owner, encoding, collation, isolation, and a login over verified TLS
    Verify(Tenants),
    /// Dumps a tenant's database to a file, then drops it, and its role and secret if no other tenant has them
    Drop(TenantDrop),
}

/// `tenant drop`
#[derive(Args, Debug)]
pub struct TenantDrop {
    /// The tenant
    pub tenant: String,
    /// The tenant once more, instead of typing it when asked; `--yes` does not answer this question
    #[arg(long, value_name = "TENANT")]
    pub name: Option<String>,
    /// Where the dump goes, in pg_dump's custom format [default: <TENANT>-<TIME>.dump in this folder]
    #[arg(long, value_name = "FILE")]
    pub dump: Option<PathBuf>,
    /// Drop without a dump
    #[arg(long, conflicts_with = "dump")]
    pub no_dump: bool,
    /// Drop even if somebody is connected, who loses the connection
    #[arg(long)]
    pub force: bool,
}

/// `tenant create`
#[derive(Args, Debug)]
pub struct TenantCreate {
    /// Which tenants.
    #[command(flatten)]
    pub tenants: Tenants,
    /// Go on though the server's disk is full: to mend what is there already
    #[arg(long)]
    pub allow_full_disk: bool,
}

/// Which tenants.
#[derive(Args, Debug)]
pub struct Tenants {
    /// Only these [default: every tenant of the stack file]
    pub tenants: Vec<String>,
}

/// `migrate`
#[derive(Args, Debug)]
pub struct Migrate {
    /// Looking instead of migrating
    #[command(subcommand)]
    pub task: Option<MigrateTask>,
    /// Only these [default: every tenant of the stack file]
    pub tenants: Vec<String>,
    /// Show what would be applied where; changes nothing
    #[arg(long, alias = "dry-run", conflicts_with_all = ["baseline", "repair"])]
    pub plan: bool,
    /// How many tenants at the same time [default: `jobs` under `[migrate]` in the stack file, else half of the
    /// server's free connections, at most 32]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// The folder of the migrations [default: db/migrations]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Judge the files and stop: each alone, or those from VERSION on as one set; exit 1 for an error
    #[arg(long, value_name = "VERSION", num_args = 0..=1, require_equals = true, conflicts_with_all = ["plan", "baseline", "repair"])]
    pub lint: Option<Option<i32>>,
    /// Look at all tenants first, and write to none unless all can be migrated
    #[arg(long)]
    pub check_first: bool,
    /// Apply files that are older than what was applied already
    #[arg(long)]
    pub out_of_order: bool,
    /// What happens to the rest of a wave once more tenants failed than the error budget allows
    /// [default: `on_error` under `[migrate]`, else continue]
    #[arg(long, value_enum, value_name = "WHAT")]
    pub on_error: Option<OnError>,
    /// How many tenants may fail before the next wave is held back [default: `error_budget` under `[migrate]`, else 0]
    #[arg(long, value_name = "N")]
    pub error_budget: Option<u32>,
    /// How long a statement may wait for a lock, in seconds, before the tenant is tried again later; 0 for ever
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub lock_timeout: u32,
    /// Only a share of the tenants, by their names: 3/8 is the third of eight [default: that of an array job on AWS
    /// Batch or Kubernetes]
    #[arg(long, value_name = "M/N")]
    pub partition: Option<String>,
    /// Take part in the run of that name with any number of other runners, here or elsewhere: each takes tenants from
    /// a table in the database `postgres`, and all end with the whole run's report
    #[arg(long, value_name = "RUN", conflicts_with_all = ["partition", "plan", "lint", "check_first", "baseline", "repair"])]
    pub join: Option<String>,
    /// How long a tenant stays with a runner that is not heard of, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60, hide = true, requires = "join",
          value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub lease: u32,
    /// Record the files up to this version as applied, without running them, where there is no history yet
    #[arg(long, value_name = "VERSION", conflicts_with = "repair")]
    pub baseline: Option<i32>,
    /// Record the names and checksums of files that were changed after they were applied, once you have seen them
    #[arg(long)]
    pub repair: bool,
    /// With `--repair`, also for these versions, whose files have another name and another text than what was applied
    #[arg(long, value_name = "VERSION", value_delimiter = ',', requires = "repair")]
    pub replaced: Vec<i32>,
    /// Go on though the server's disk is full: for migrations that make room
    #[arg(long, conflicts_with_all = ["plan", "lint", "baseline", "repair"])]
    pub allow_full_disk: bool,
    /// Write what became of each tenant to FILE as well, as JUnit's XML
    #[arg(long, value_name = "FILE", conflicts_with_all = ["plan", "baseline", "repair"])]
    pub junit: Option<PathBuf>,
}

/// `migrate ..`
#[derive(Debug, Subcommand)]
pub enum MigrateTask {
    /// Shows who has which migration, and which database is not as configured; changes nothing
    Status(MigrateStatus),
}

/// `migrate status`
#[derive(Args, Debug)]
pub struct MigrateStatus {
    /// Only these [default: every tenant]
    pub tenants: Vec<String>,
    /// Write a page to FILE instead, that any browser shows
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Exit 8 unless every tenant is up to date and as configured
    #[arg(long)]
    pub check: bool,
    /// How many tenants at the same time [default: as `migrate`]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// The folder of the migrations [default: db/migrations]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// What happens to the rest of a wave once too many tenants failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnError {
    /// They are migrated; the next wave is not
    Continue,
    /// No other tenant begins
    Stop,
}

/// `migration ..`
#[derive(Debug, Subcommand)]
pub enum Migration {
    /// Makes the next file, V<n>__<name>.sql
    New(MigrationNew),
}

/// `migration new`
#[derive(Args, Debug)]
pub struct MigrationNew {
    /// Words in lower case, such as `add_orders`
    pub name: String,
    /// The folder of the migrations [default: db/migrations]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// `secret ..`
#[derive(Debug, Subcommand)]
pub enum Secret {
    /// Sets new passwords; a rotation that was cut off is finished, and one password logs in at any time
    Rotate(SecretRotate),
}

/// `secret rotate`
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("whose").required(true).args(["roles", "all"]))]
pub struct SecretRotate {
    /// Roles that own tenants; `master` for the master user
    #[arg(value_name = "ROLE")]
    pub roles: Vec<String>,
    /// Every role of the stack file, then the master user
    #[arg(long)]
    pub all: bool,
    /// Show what would be done; changes nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `release`
#[derive(Args, Debug)]
pub struct Release {
    /// Where the migrations are [default: db/migrations]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// What becomes of the bastion at the end
    #[arg(long, value_enum, default_value_t = BastionAfter::AsFound)]
    pub bastion: BastionAfter,
    /// Write the report to this file as well, as JSON
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// For how many minutes to wait for another release of this stack
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(0..=1440))]
    pub wait: u32,
    /// Seconds that a statement of a migration may wait for a lock on a table; 0 for ever
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub lock_timeout: u32,
}

/// What becomes of the bastion after a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BastionAfter {
    /// As it was: removed if there was none, stopped if it was stopped
    AsFound,
    /// It runs on
    Keep,
    /// It is stopped
    Stop,
    /// It is removed
    Destroy,
}
