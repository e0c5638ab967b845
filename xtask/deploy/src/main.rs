//! The cloud tasks. `cargo xtask` builds and runs this.

use std::process::ExitCode;

use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    deploy::run(&xtask::Cli::parse()).await
}
