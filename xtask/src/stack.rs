//! Arguments of the tasks on a stack: what comes up, goes down, is looked at and connected to.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

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
    /// Also remove the rules and groups that let others in and that the stack file does not state
    #[arg(long)]
    pub remove_unknown_rules: bool,
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
    /// Write a page to FILE instead, that any browser shows
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// `resources`
#[derive(Args, Debug)]
pub struct Resources {
    /// Write a page to FILE instead, that any browser shows
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
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
    /// Open a socket to the database instead of a port, in DIR or in a new folder: no other user of this machine can reach it,
    /// and programs at it speak no TLS, which is spoken and verified here
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true, conflicts_with_all = ["port", "to", "any_user"])]
    pub socket: Option<Option<PathBuf>>,
    /// Carry the connections of every user of this machine [default: only your own, and root's; Linux tells whose they are]
    #[arg(long)]
    pub any_user: bool,
}

/// `exec`
#[derive(Args, Debug)]
pub struct Exec {
    /// Log in as this tenant's role, to its database, instead of as the master user
    #[arg(long, value_name = "NAME")]
    pub tenant: Option<String>,
    /// Give the command a socket instead of a port: PGHOST is then a folder that no other user of this machine may enter
    #[arg(long, conflicts_with = "any_user")]
    pub socket: bool,
    /// Carry the connections of every user of this machine, for a command that runs as another one
    #[arg(long)]
    pub any_user: bool,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub command: Vec<String>,
}

/// `psql`
#[derive(Args, Debug)]
pub struct Psql {
    /// The tenant; without it the master user and the database `postgres`
    pub tenant: Option<String>,
    /// Give psql a socket instead of a port, which no other user of this machine can reach
    #[arg(long)]
    pub socket: bool,
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

/// `env`
#[derive(Args, Debug)]
pub struct Env {
    /// The file; `-` for standard output
    #[arg(default_value = "aws-resources.env")]
    pub file: PathBuf,
}

/// `adopt`
#[derive(Args, Debug)]
pub struct Adopt {
    /// The file that names what the scripts made, as `env` writes it
    #[arg(long, value_name = "FILE")]
    pub from: PathBuf,
    /// Show what would be tagged and what differs, and stop
    #[arg(long)]
    pub dry_run: bool,
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
    /// `plan`, `status`, `resources`, `audit`, `cost`: looking
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
    /// `adopt`
    Adopt,
}
