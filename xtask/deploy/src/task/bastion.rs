//! `bastion shell|start|stop|extend|keep|reboot`.

mod power;
mod reboot;
mod shell;

use std::process::ExitCode;

use crate::context::Context;
use crate::failure::Failure;

/// Runs one of the bastion's tasks.
pub async fn run(context: &Context, task: &xtask::Bastion) -> Result<ExitCode, Failure> {
    match task {
        xtask::Bastion::Shell(args) => shell::shell(context, args).await,
        xtask::Bastion::Start => power::start(context).await,
        xtask::Bastion::Stop => power::stop(context).await,
        xtask::Bastion::Extend(args) => power::extend(context, args).await,
        xtask::Bastion::Keep => power::keep(context).await,
        xtask::Bastion::Reboot => reboot::run(context).await,
    }
}
