//! A thin dispatcher: light tasks run here, the others in `deploy`.

mod bench;
mod check;
mod cloud;
mod dist;
mod fuzz;
mod images;
mod migration;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::Parser;
use xshell::Shell;
use xtask::{Cli, Migration, Task};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            let is_usage = error.is::<workspace::Usage>() || error.is::<images::Missing>();
            ExitCode::from(if is_usage { 2 } else { 1 })
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    let sh = Shell::new()?;
    match &cli.task {
        Task::Check => check::run(&sh),
        Task::Test(test) => test::run(&sh, test),
        Task::Bench(bench) => bench::run(&sh, bench, cli.global.json),
        Task::Soak(soak) => bench::soak(&sh, soak, cli.global.json),
        Task::Fuzz(fuzz) => fuzz::run(&sh, fuzz),
        Task::Images(images) => images::run(&sh, images, cli.global.json),
        Task::Dist(dist) => dist::run(&sh, dist, cli.global.json),
        Task::Migration(Migration::New(new)) => migration::new(new),
        // These need the AWS SDK, two million lines; only they pay for it.
        Task::Demo(_)
        | Task::Plan(_)
        | Task::Up(_)
        | Task::Down(_)
        | Task::Status(_)
        | Task::Resources(_)
        | Task::Cost
        | Task::Doctor
        | Task::Audit
        | Task::Sweep(_)
        | Task::Adopt(_)
        | Task::Tunnel(_)
        | Task::Exec(_)
        | Task::Psql(_)
        | Task::Bastion(_)
        | Task::Tenant(_)
        | Task::Migrate(_)
        | Task::Secret(_)
        | Task::Release(_)
        | Task::Env(_)
        | Task::Iam(_)
        | Task::Sandbox(_)
        | Task::Completions(_)
        | Task::Man(_) => cloud::exec(&sh),
    }
}
