//! Arguments of the tasks on this machine: sandbox, tests, figures, packages.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// `demo`
#[derive(Args, Debug)]
pub struct Demo {
    /// Leave the sandbox and the stack in it running
    #[arg(long)]
    pub keep: bool,
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
    /// Prints the variables that point the AWS CLI and SDKs at it, with its key: eval "$(cargo xtask sandbox env)"
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
    /// Handed to `cargo nextest run`, or to `cargo test` where that is not installed: a filter, `-- --nocapture`, ..
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
    /// Only this one: codec, smux, handshake, closed, channel or history [default: all, one after the other]
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
