//! The whole command line of Drawbridge, on one page.
//!
//! Architecture invariant: this crate never depends on the AWS SDK, so that help, usage errors and the light tasks
//! are instant. `xtask` runs the light tasks itself; the others are run by `deploy`, which parses the same [`Cli`].

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};

/// Lowers a bridge to private PostgreSQL on AWS.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, max_term_width = 100)]
#[command(after_help = EXITS)]
pub struct Cli {
    /// What every task understands.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub task: Task,
}

const EXITS: &str = "Exit codes: 0 ok, 1 failure, 2 usage or configuration, 3 credentials or permission, \
4 AWS refused or timed out, 5 tunnel, 6 all tenants failed, 7 some tenants failed, 8 drift or unhealthy, \
9 leftovers, 130 interrupted.\n\nTry `cargo xtask demo`: the whole job on this machine, no AWS account needed.";

/// Options that every task understands.
#[derive(Args, Clone, Debug)]
pub struct Global {
    /// The stack file [default: infra/stack.toml]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    pub stack: Option<PathBuf>,
    /// Work against the running sandbox (`sandbox start`) instead of AWS
    #[arg(long, global = true, value_name = "NAME", num_args = 0..=1, default_missing_value = "default",
          require_equals = true, help_heading = "Global options")]
    pub sandbox: Option<String>,
    /// The AWS profile to use (wins over AWS_PROFILE)
    #[arg(long, global = true, value_name = "NAME", help_heading = "Global options")]
    pub profile: Option<String>,
    /// Results as JSON on stdout, events as NDJSON on stderr
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,
    /// Answer every question with yes
    #[arg(long, short = 'y', global = true, help_heading = "Global options")]
    pub yes: bool,
    /// Never ask; fail where an answer would be needed
    #[arg(long, global = true, help_heading = "Global options")]
    pub no_input: bool,
    /// Errors and results only
    #[arg(long, short, global = true, conflicts_with = "verbose", help_heading = "Global options")]
    pub quiet: bool,
    /// Say more
    #[arg(long, short, global = true, help_heading = "Global options")]
    pub verbose: bool,
}

/// Every task.
#[derive(Debug, Subcommand)]
pub enum Task {
    /// The whole job on this machine: sandbox, up, tunnel, tenants, migrations, verify, status, down, audit
    Demo(Demo),
    /// Shows what `up` would do, how long it takes and what it costs; changes nothing
    Plan(Plan),
    /// Creates what is missing and mends what is half-made; twice changes nothing
    Up(Up),
    /// Takes everything down in reverse order and proves that nothing is left
    Down(Down),
    /// Shows what exists, in which state, and what it costs
    Status(Status),
    /// What the stack costs: now, with the bastion stopped, a month, and since the bastion's start
    Cost,
    /// Names what is broken between here and the database, with the evidence and the command that mends it; changes nothing
    Doctor,
    /// Lists whatever is left of the stack, asking each service; exit 9 if anything is
    Audit,
    /// Terminates ephemeral bastions whose time is over: what `up --ephemeral` left when its machine crashed
    Sweep(Sweep),
    /// Opens a tunnel to the database on a local port, until Ctrl-C
    Tunnel(Tunnel),
    /// Runs a command with a tunnel open and the PG* variables set; passes on its exit code
    Exec(Exec),
    /// Opens psql on a tenant's database through a tunnel
    Psql(Psql),
    /// Works on the bastion itself
    #[command(subcommand)]
    Bastion(Bastion),
    /// Lists, creates and verifies tenant databases
    #[command(subcommand)]
    Tenant(Tenant),
    /// Brings tenants' databases up to the newest migration
    Migrate(Migrate),
    /// What a release does: bastion, missing tenants, migrations in waves, verification, and the bastion as it was
    Release(Release),
    /// Makes new migration files
    #[command(subcommand)]
    Migration(Migration),
    /// Gives roles and the master user new passwords
    #[command(subcommand)]
    Secret(Secret),
    /// Writes the stack's ids as shell assignments, for scripts that read them; never a secret
    Env(Env),
    /// Prints what a task must be allowed to do in AWS
    #[command(subcommand)]
    Iam(Iam),
    /// AWS on this machine: starts, stops and describes it
    #[command(subcommand)]
    Sandbox(Sandbox),
    /// Checks format, lints, layers and licences
    Check,
    /// Runs every test that this machine can run and says what it skipped
    Test(Test),
    /// Measures, beside a floor in the same run
    #[command(subcommand)]
    Bench(Bench),
    /// The tunnel for minutes on the worst of lines, beside a reader that stops; exit 1 if a byte is lost
    Soak(Soak),
    /// Feeds the data channel's client with inputs that nobody thought of
    Fuzz(Fuzz),
    /// Gets the images of the container tests, or builds their like from packages where no registry answers
    Images(Images),
    /// Builds the program for machines without a Rust toolchain: stripped, with completions, man pages and checksums
    Dist(Dist),
    /// Prints the completions of a shell
    Completions(Completions),
    /// Writes a manual page for each task
    Man(Man),
}

/// `demo`
#[derive(Args, Debug)]
pub struct Demo {
    /// Leave the sandbox and the stack in it running
    #[arg(long)]
    pub keep: bool,
}

/// `plan`
#[derive(Args, Debug)]
pub struct Plan {
    /// Only these components and what they need
    #[arg(value_enum)]
    pub components: Vec<Component>,
    /// Exit 8 if anything would be done
    #[arg(long)]
    pub check: bool,
}

/// `up`
#[derive(Args, Debug)]
pub struct Up {
    /// Only these components and what they need
    #[arg(value_enum)]
    pub components: Vec<Component>,
    /// Show the plan and stop
    #[arg(long)]
    pub dry_run: bool,
    /// A bastion for a machine's use: it terminates itself after `--ttl`, and when it is idle
    #[arg(long, requires = "ttl")]
    pub ephemeral: bool,
    /// How long an ephemeral bastion lives: `90m`, `2h`; from `5m` to `24h`
    #[arg(long, value_name = "DURATION", requires = "ephemeral")]
    pub ttl: Option<String>,
}

/// `sweep`
#[derive(Args, Debug)]
pub struct Sweep {
    /// Those whose time is over
    #[arg(long, required = true)]
    pub expired: bool,
    /// Those of every Drawbridge stack in the region, not of this one alone
    #[arg(long)]
    pub all_stacks: bool,
    /// Show them and stop
    #[arg(long)]
    pub dry_run: bool,
}

/// `down`
#[derive(Args, Debug)]
pub struct Down {
    /// Only these components and what depends on them
    #[arg(value_enum)]
    pub components: Vec<Component>,
    /// Show the plan and stop
    #[arg(long)]
    pub dry_run: bool,
    /// Turn the database's deletion protection off first
    #[arg(long)]
    pub unprotect: bool,
    /// Take a last snapshot of the database, of this name [default: as `final_snapshot` in the stack file says, which
    /// for `prod` is a dated one]
    #[arg(long, value_name = "NAME", conflicts_with = "no_snapshot")]
    pub snapshot: Option<String>,
    /// Take no last snapshot, whatever the stack file says
    #[arg(long)]
    pub no_snapshot: bool,
    /// Leave the secrets as they are, and restore those that are scheduled for deletion [default: they are deleted at
    /// once, so that their names are free]
    #[arg(long)]
    pub keep_secrets: bool,
    /// Delete the secrets with a recovery window of so many days instead; their names are taken until it ends
    #[arg(long, value_name = "DAYS", conflicts_with = "keep_secrets", value_parser = clap::value_parser!(u8).range(7..=30))]
    pub recovery_days: Option<u8>,
    /// How long each removal waits for what AWS itself still has in use, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub wait: u32,
    /// Write the receipt to FILE as well, as JSON: every id with the call that proved it gone
    #[arg(long, value_name = "FILE")]
    pub receipt: Option<PathBuf>,
}

/// A part of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Component {
    /// VPC, subnets, internet gateway, route tables
    Network,
    /// The groups of the bastion and of the database
    SecurityGroups,
    /// The master password and the tenants' passwords
    Secrets,
    /// The RDS instance and its subnet group
    Database,
    /// Role, instance profile and the EC2 instance
    Bastion,
}

/// `status`
#[derive(Args, Debug)]
pub struct Status {
    /// Exit 8 if anything is missing, different or unhealthy
    #[arg(long)]
    pub check: bool,
}

/// `tunnel`
#[derive(Args, Debug)]
pub struct Tunnel {
    /// The local port of the first target; 0 takes a free one
    #[arg(long, default_value_t = 5432)]
    pub port: u16,
    /// Another target than the database, as the bastion sees it; again for more, each on a local port of its own
    #[arg(long, value_name = "[LOCAL_PORT:]HOST:PORT")]
    pub to: Vec<String>,
    /// The most sessions at a time, at most 16 [default: `sessions` under `[bastion]` in the stack file]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=16))]
    pub sessions: Option<u8>,
    /// Keep silent connections from the service's idle timeout, 20 minutes unless the account says otherwise
    #[arg(long)]
    pub keep_alive: bool,
}

/// `exec`
#[derive(Args, Debug)]
pub struct Exec {
    /// Log in as this tenant's role, to its database, instead of as the master user
    #[arg(long, value_name = "NAME")]
    pub tenant: Option<String>,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub command: Vec<String>,
}

/// `psql`
#[derive(Args, Debug)]
pub struct Psql {
    /// The tenant; without it the master user and the database `postgres`
    pub tenant: Option<String>,
    /// Handed to psql as it is
    #[arg(last = true, value_name = "ARGS")]
    pub args: Vec<String>,
}

/// `bastion ..`
#[derive(Debug, Subcommand)]
pub enum Bastion {
    /// Opens a terminal on the bastion; given a command, runs that and passes on its exit code
    Shell(BastionShell),
    /// Starts it if it is stopped and waits until it takes sessions; whatever needs it does so by itself
    Start,
    /// Says who is connected, asks, and stops it: its address and hours cost nothing then
    Stop,
    /// Keeps it from stopping by itself for so long from now, with or without sessions
    Extend(BastionExtend),
    /// Keeps it from stopping by itself until `bastion stop`, or `bastion extend`
    Keep,
    /// Reboots it and waits for a session: an agent that was refused tries again at once instead of in half an hour
    Reboot,
}

/// `bastion extend`
#[derive(Args, Debug)]
pub struct BastionExtend {
    /// How long: `90m`, `2h`; from `5m` to `24h`
    #[arg(value_name = "DURATION")]
    pub duration: String,
}

/// `bastion shell`
#[derive(Args, Debug)]
pub struct BastionShell {
    /// A command and its arguments, run without a shell around it and without standard input
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<String>,
}

/// `tenant ..`
#[derive(Debug, Subcommand)]
pub enum Tenant {
    /// Lists the databases on the server beside those of the stack file
    List,
    /// Creates roles, secrets and databases; what is there already stays as it is
    Create(Tenants),
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

/// `env`
#[derive(Args, Debug)]
pub struct Env {
    /// The file; `-` for standard output
    #[arg(default_value = "aws-resources.env")]
    pub file: PathBuf,
}

/// `iam ..`
#[derive(Debug, Subcommand)]
pub enum Iam {
    /// Prints the policy that a task needs on this stack, for `aws iam create-policy`; changes nothing
    Print(IamPrint),
}

/// `iam print`
#[derive(Args, Debug)]
pub struct IamPrint {
    /// The task
    #[arg(value_enum)]
    pub task: IamTask,
    /// The account's twelve digits [default: that of the credentials, `*` if there are none]
    #[arg(long, value_name = "ID", value_parser = account)]
    pub account: Option<String>,
}

fn account(text: &str) -> Result<String, &'static str> {
    if text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(text.to_owned());
    }
    Err("an account has twelve digits, such as 123456789012")
}

/// A task, by what it must be allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum IamTask {
    /// `plan`, `status`, `audit`, `cost`: looking
    Status,
    /// `doctor`
    Doctor,
    /// `tunnel`, `exec`, `psql`, `bastion shell`
    Connect,
    /// `migrate`, `migrate status`
    Migrate,
    /// `tenant list`, `create`, `verify`, `drop`
    Tenant,
    /// `secret rotate`
    Rotate,
    /// `bastion start`, `stop`, `extend`, `keep`, `reboot`; `sweep`
    Bastion,
    /// `up`
    Up,
    /// `down`
    Down,
}

/// `sandbox ..`
#[derive(Debug, Subcommand)]
pub enum Sandbox {
    /// Starts it in the background
    Start(SandboxStart),
    /// Stops it and removes what it held
    Stop,
    /// Says whether it runs, and where
    Status,
    /// Prints the variables that point the AWS CLI and SDKs at it: eval "$(cargo xtask sandbox env)"
    Env,
    /// Runs it in the foreground, until Ctrl-C
    Run(SandboxStart),
}

/// `sandbox start`, `sandbox run`
#[derive(Args, Clone, Debug)]
pub struct SandboxStart {
    /// Where PostgreSQL's programs come from
    #[arg(long, value_enum, default_value_t = PostgresSource::Wheel)]
    pub postgres: PostgresSource,
    /// The key of the database's certificate
    #[arg(long, value_enum, default_value_t = Key::Rsa)]
    pub key: Key,
}

/// Where PostgreSQL's programs come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PostgresSource {
    /// A Python wheel with PostgreSQL 16 and 18 in it: no root, no Docker
    Wheel,
    /// Those found on this machine
    Host,
    /// The image `postgres:16-alpine`, or DRAWBRIDGE_IMAGE_POSTGRES
    Docker,
}

/// The key of the database's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Key {
    /// RSA, 2048 bits
    Rsa,
    /// ECDSA on P-384
    Ecc384,
}

/// `test`
#[derive(Args, Debug)]
pub struct Test {
    /// Handed to `cargo test` as it is: a filter, `-- --nocapture`, ..
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    pub args: Vec<String>,
}

/// `images`
#[derive(Args, Debug)]
pub struct Images {
    /// Build from packages even where images can be pulled
    #[arg(long)]
    pub build: bool,
}

/// `fuzz`
#[derive(Args, Debug)]
pub struct Fuzz {
    /// Only this one: codec, smux, handshake or channel [default: all, one after the other]
    pub target: Option<String>,
    /// How long each runs
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1440))]
    pub minutes: u32,
}

/// `bench ..`
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// Echo, upload and download through the sandbox's agent with its real pacing, beside a plain TCP forward
    Tunnel,
    /// Migrations beside one batch a tenant, refinery and what else is on PATH, locally and at 20 ms each way
    Migrate(BenchMigrate),
    /// `up`, `up` with nothing to do and `down`, 50 ms a call, beside their longest chains and a script with the AWS CLI
    Provision,
}

/// `bench migrate`
#[derive(Args, Debug)]
pub struct BenchMigrate {
    /// How many tenants the engine migrates
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=2000))]
    pub tenants: u32,
    /// How many tenants whoever is slow migrates; those that work in parallel take sixteen times as many
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub sample: u32,
    /// 48 tenants and a sample of 2: rough figures in two minutes
    #[arg(long, conflicts_with_all = ["tenants", "sample"])]
    pub quick: bool,
    /// Instead, time and memory of so many tenants with nothing to do; takes 8 MB of disk for each
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(100..=100_000))]
    pub many: Option<u32>,
}

/// `soak`
#[derive(Args, Debug)]
pub struct Soak {
    /// How long each part runs
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(10..=86_400))]
    pub seconds: u32,
}

/// `completions`
#[derive(Args, Debug)]
pub struct Completions {
    /// The shell
    #[arg(value_parser = ["bash", "zsh", "fish", "elvish", "powershell"])]
    pub shell: String,
}

/// `dist`
#[derive(Args, Debug)]
pub struct Dist {
    /// Where to put it [default: dist in the target directory]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// `man`
#[derive(Args, Debug)]
pub struct Man {
    /// The folder to write to; it is made if it is not there
    pub dir: PathBuf,
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
