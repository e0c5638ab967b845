//! The whole command line of Drawbridge, on one page.
//!
//! Architecture invariant: this crate never depends on the AWS SDK, so that help, usage errors and the light tasks
//! are instant. `xtask` runs the light tasks itself; the others are run by `deploy`, which parses the same [`Cli`].

mod database;
mod development;
mod stack;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use self::database::*;
pub use self::development::*;
pub use self::stack::*;

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
    /// Tells whether all is well: every step with what AWS says of it, what differs, what to do next, and what it costs
    Status(Status),
    /// Lists every resource by its id, with its state and age, and how to connect; names and ARNs alone
    Resources(Resources),
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
    /// Takes over what the predecessor's scripts made: shows what differs, and tags it; creates and deletes nothing
    Adopt(Adopt),
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
