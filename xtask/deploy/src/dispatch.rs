//! Runs the task that the command line names.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use xtask::{Cli, Global, MigrateTask, Task};

use crate::context::Context;
use crate::failure::Failure;
use crate::shutdown::Shutdown;
use crate::view::View;
use crate::{interrupt, program, task};

/// Runs the task that the command line names.
pub(crate) async fn dispatch(cli: &Cli, view: &View, shutdown: &Shutdown) -> Result<ExitCode, Failure> {
    let global = &cli.global;
    match &cli.task {
        Task::Sandbox(task) => task::sandbox::run(task, global, view).await,
        Task::Completions(args) => task::completions::run(args),
        Task::Man(args) => task::man::run(args),
        Task::Demo(args) => demo(args, global, view, shutdown).await,
        Task::Migrate(args) if args.task.is_none() && args.lint.is_some() => {
            task::migrate::lint::run(args, args.lint.flatten(), view, global.json).await
        }
        Task::Check
        | Task::Test(_)
        | Task::Bench(_)
        | Task::Soak(_)
        | Task::Fuzz(_)
        | Task::Images(_)
        | Task::Dist(_)
        | Task::Migration(_) => {
            Err(Failure::usage("this task needs Drawbridge's sources, and cargo to run it"))
        }
        Task::Plan(_)
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
        | Task::Env(_)
        | Task::Iam(_)
        | Task::Secret(_)
        | Task::Release(_) => on_stack(cli, view, shutdown).await,
    }
}

/// Runs a task on the stack that the stack file describes.
async fn on_stack(cli: &Cli, view: &View, shutdown: &Shutdown) -> Result<ExitCode, Failure> {
    let global = &cli.global;
    // Read before the sandbox is looked for: a bad file is an error either way.
    let context = Context::load(global, view.clone(), interrupt::watch(view, shutdown)?, shutdown.clone())?;
    if let Some(name) = &global.sandbox {
        return Err(enter_sandbox(name).await);
    }
    match &cli.task {
        Task::Plan(args) => task::plan::run(&context, args).await,
        Task::Up(args) => task::up::run(&context, args).await,
        Task::Down(args) => task::down::run(&context, args).await,
        Task::Status(args) => task::status::run(&context, args).await,
        Task::Resources(args) => task::resources::run(&context, args).await,
        Task::Cost => task::cost::run(&context).await,
        Task::Doctor => task::doctor::run(&context).await,
        Task::Audit => task::audit::run(&context).await,
        Task::Sweep(args) => task::sweep::run(&context, args).await,
        Task::Tunnel(args) => task::tunnel::run(&context, args).await,
        Task::Exec(args) => task::exec::run(&context, args).await,
        Task::Psql(args) => task::psql::run(&context, args).await,
        Task::Bastion(task) => task::bastion::run(&context, task).await,
        Task::Tenant(args) => task::tenant::run(&context, args).await,
        Task::Secret(task) => task::secret::run(&context, task).await,
        Task::Release(args) => task::release::run(&context, args).await,
        Task::Adopt(args) => task::adopt::run(&context, args).await,
        Task::Env(args) => task::env::run(&context, args).await,
        Task::Iam(task) => task::iam::run(&context, task).await,
        Task::Migrate(args) => match &args.task {
            Some(MigrateTask::Status(status)) => task::migrate::status::run(&context, args, status).await,
            None => task::migrate::run(&context, args).await,
        },
        Task::Demo(_)
        | Task::Migration(_)
        | Task::Sandbox(_)
        | Task::Check
        | Task::Test(_)
        | Task::Bench(_)
        | Task::Soak(_)
        | Task::Fuzz(_)
        | Task::Images(_)
        | Task::Dist(_)
        | Task::Completions(_)
        | Task::Man(_) => unreachable!("invariant: these were dispatched above"),
    }
}

/// Runs the demo on its own stack, or on the one that is named.
async fn demo(
    args: &xtask::Demo,
    global: &Global,
    view: &View,
    shutdown: &Shutdown,
) -> Result<ExitCode, Failure> {
    let stop = interrupt::watch(view, shutdown)?;
    let context = match &global.stack {
        Some(_) => Context::load(global, view.clone(), stop, shutdown.clone())?,
        None => Context::of(task::demo::stack()?, global, view.clone(), stop, shutdown.clone()),
    };
    task::demo::run(args, context).await
}

/// Executes this program again with the sandbox's variables and without the flag: a sandbox is an endpoint, not a mode.
async fn enter_sandbox(name: &str) -> Failure {
    let environment = match task::sandbox::environment(name).await {
        Ok(environment) => environment,
        Err(failure) => return failure,
    };
    let own = match std::env::current_exe() {
        Ok(own) => own,
        Err(error) => return error.into(),
    };
    let mut flag_may_follow = true;
    let args = std::env::args_os().skip(1).filter(|arg| {
        flag_may_follow &= arg != "--";
        let arg = arg.to_string_lossy();
        !(flag_may_follow && (arg == "--sandbox" || arg.starts_with("--sandbox=")))
    });
    let mut command = Command::new(own);
    command.args(args).envs(environment).env(program::SANDBOX, name);
    // They would lead back to AWS.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text == "AWS_PROFILE" || text == "AWS_SESSION_TOKEN" || text.starts_with("AWS_ENDPOINT_URL_") {
            command.env_remove(&name);
        }
    }
    command.exec().into()
}
