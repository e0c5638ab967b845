//! The cloud tasks, one file each; the only code that prints.
//!
//! Architecture invariant: libraries below emit `stack::Event`s and return values; text, JSON, exit codes and hints
//! are made here and nowhere else.

pub mod access;
pub mod apply;
pub mod bridge;
mod cause;
pub mod child;
pub mod client;
pub mod confirm;
pub mod connected;
pub mod context;
pub mod cost;
pub mod db_task;
pub mod descriptor;
pub mod disk;
mod dispatch;
pub mod dump;
mod escape;
pub mod failure;
pub mod file;
#[cfg(test)]
mod hostile;
pub mod interrupt;
pub mod leftover;
pub mod listener;
pub mod machine;
pub mod names;
pub mod paths;
pub mod program;
pub mod reach;
pub mod report;
pub mod running;
pub mod screen;
pub mod sets;
pub mod shutdown;
pub mod span;
pub mod squawk;
pub mod ssm;
pub mod stack_lock;
pub mod table;
pub mod task;
pub mod tenant_source;
pub mod tenants;
pub mod terminal;
pub mod text;
pub mod view;

use std::process::ExitCode;

use xtask::Cli;

use shutdown::Shutdown;
use view::{Detail, View};

/// Runs the task that the command line names and returns its exit code.
pub async fn run(cli: &Cli) -> ExitCode {
    let detail = match (cli.global.quiet, cli.global.verbose) {
        (true, _) => Detail::Quiet,
        (false, true) => Detail::Verbose,
        (false, false) => Detail::Normal,
    };
    program::remember(&cli.global);
    let view = View::new(cli.global.json, detail);
    let shutdown = Shutdown::default();
    let outcome = shutdown.after(Box::pin(dispatch::dispatch(cli, &view, &shutdown))).await;
    screen::settle();
    match outcome {
        Ok(code) => {
            if let Some(running) = shutdown.closing_note().await {
                view.say(running.to_string());
            }
            code
        }
        Err(mut failure) => {
            // A failed step has told it already.
            if failure.still_running.is_empty() {
                failure.still_running.extend(shutdown.closing_note().await);
            }
            view.fail(&failure);
            failure.code()
        }
    }
}
