//! `demo`: the whole job on this machine, with no AWS account.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sandbox::Sandbox;
use stack::{Event, Secret, Stack};
use xtask::{PostgresSource, SandboxStart};

use crate::access::{Access, Given};
use crate::bridge::{self, Bridge};
use crate::context::Context;
use crate::db_task::{self, DbTask};
use crate::failure::{Exit, Failure};
use crate::sets::Sets;
use crate::task::{audit, down, migrate, plan, sandbox as sandbox_task, status, tenant, up};
use crate::text::Text;
use crate::view::{seconds, tell};
use crate::{paths, program, table, tenant_source, tenants};

/// Returns the demo's own stack: what is tried out here must not be the production that the stack file describes.
///
/// # Errors
/// None, as long as the file that is built in is right.
pub fn stack() -> Result<Stack, Failure> {
    stack::config::parse_bytes(paths::DEMO, paths::DEMO_FILE).map_err(tenant_source::refuse)
}

/// Runs every part in turn and sums up. Whatever fails, the sandbox is stopped, unless it is to be kept.
pub async fn run(args: &xtask::Demo, mut context: Context) -> Result<ExitCode, Failure> {
    let name =
        if args.keep { program::DEFAULT_SANDBOX.to_owned() } else { format!("demo-{}", std::process::id()) };
    let mut parts = Parts { context: context.clone(), done: Vec::new() };

    let (access, own) =
        parts.run("sandbox", "AWS on this machine", start(&context, &name, args.keep)).await?;
    context.access = access;
    let result = job(&context, &mut parts, args.keep).await;
    if let Some(sandbox) = own {
        let dir = sandbox.dir().to_owned();
        sandbox.stop().await?;
        std::fs::remove_dir_all(dir)?;
    }
    result?;
    let mut summary = Text::new();
    summary.blank();
    summary.add(&parts.summary());
    tell(&summary);
    if args.keep {
        let mut kept = Text::new();
        kept.blank();
        kept.line(
            "the sandbox still runs; add `--sandbox --stack infra/demo.toml` to any task, and end it with \
             `cargo xtask sandbox stop`",
        );
        tell(&kept);
    }
    let mut next = Text::new();
    next.blank();
    next.line("against AWS: log in (`aws sso login`, AWS_PROFILE), set your names and ranges in infra/stack.toml, then");
    next.line(
        "  cargo xtask plan; cargo xtask up; cargo xtask tenant create; cargo xtask migrate; cargo xtask tenant verify",
    );
    tell(&next);
    Ok(ExitCode::SUCCESS)
}

/// Starts the sandbox: inside this process, so that it ends with it, or detached if it is to be kept.
async fn start(context: &Context, name: &str, keep: bool) -> Result<(Access, Option<Sandbox>), Failure> {
    let args = SandboxStart { postgres: PostgresSource::Wheel, key: xtask::Key::Rsa };
    if keep {
        let running = sandbox_task::start(name, &args, &context.view).await?;
        return Ok((access(&running.environment), None));
    }
    let dir = paths::sandboxes()?.join(name);
    let sandbox = Sandbox::start(sandbox_task::options(&dir, &args, &context.view)?).await?;
    Ok((access(&sandbox.environment()), Some(sandbox)))
}

/// Returns the access that a sandbox's variables describe.
pub fn access(environment: &[(String, String)]) -> Access {
    let value = |name: &str| environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let given = value("AWS_ENDPOINT_URL").map(|endpoint| Given {
        endpoint,
        key_id: value("AWS_ACCESS_KEY_ID").unwrap_or_default(),
        key: Secret::new(value("AWS_SECRET_ACCESS_KEY").unwrap_or_default()),
    });
    Access { profile: None, given, ca_bundle: value(crate::access::CA_BUNDLE).map(Into::into) }
}

async fn job(context: &Context, parts: &mut Parts, keep: bool) -> Result<(), Failure> {
    parts
        .run("plan", "what is missing, minutes and money", async {
            plan::run(context, &xtask::Plan { components: Vec::new(), check: false }).await
        })
        .await?;
    let (cloud, inventory, _) =
        parts.run("up", "network, secrets, RDS, bastion", up::converge(context, &[])).await?;
    let bridge = parts
        .run("tunnel", "a session through the bastion", async {
            let bridge = Bridge::to_database(context, &cloud, &inventory).await?;
            context.view.say(format!("   open, to {}:{}", bridge.host, bridge.port));
            Ok(bridge)
        })
        .await?;
    let work = async |task: DbTask<'_>, _: &Arc<Bridge>| databases(task, parts).await;
    db_task::run_on(context, &cloud, bridge, work).await?;
    parts
        .run("status", "what exists and what it costs", async {
            let status = Box::pin(status::look(context)).await?;
            status::show(context, &status)?;
            match status.healthy {
                true => Ok(()),
                false => {
                    Err(Failure::new(Exit::Drift, anyhow::Error::msg("the stack is not healthy after `up`")))
                }
            }
        })
        .await?;
    if keep {
        return Ok(());
    }
    parts.run("down", "everything, in reverse order", down::demolish(context)).await?;
    parts
        .run("audit", "nothing is left", async {
            let found = audit::of(context).await?;
            if found.is_clean() {
                context.view.say("   nothing left");
                return Ok(());
            }
            Err(Failure::new(Exit::Leftovers, anyhow::Error::msg(audit::render(&found).to_string())))
        })
        .await
}

async fn databases(task: DbTask<'_>, parts: &mut Parts) -> Result<(), Failure> {
    let context = task.context;
    let tenants = tenants::chosen(context, &[])?;
    let master = bridge::master(context, task.cloud).await?;
    parts
        .run("tenants", "roles, secrets, databases", async {
            tenant::judge_created(&tenant::create(task, &master, &tenants).await?)
        })
        .await?;
    let mut sets = Sets::load(&paths::workspace().join("db/migrations"), Some(&tenants), &context.events)?;
    parts
        .run("migrations", "refinery's files, through the tunnel", async {
            migrate::judge(&migrate::apply(task, &tenants, &mut sets).await?)
        })
        .await?;
    let verify = tenant::verify(task, &master, &tenants);
    parts.run("verify", "owner, isolation, login over verified TLS", verify).await?;
    Ok(())
}

/// The parts that are done, with the time that each took.
struct Parts {
    context: Context,
    done: Vec<(String, String, Duration)>,
}

impl Parts {
    async fn run<T>(
        &mut self,
        name: &str,
        what: &str,
        part: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        self.context.check_interrupted()?;
        self.context.events.emit(Event::PhaseStarted { name: name.to_owned() });
        let start = Instant::now();
        let value = Box::pin(part).await?;
        let elapsed = start.elapsed();
        self.context.events.emit(Event::PhaseFinished { name: name.to_owned(), elapsed });
        self.done.push((name.to_owned(), what.to_owned(), elapsed));
        Ok(value)
    }

    fn summary(&self) -> Text {
        let total: Duration = self.done.iter().map(|(_, _, elapsed)| *elapsed).sum();
        let mut rows: Vec<Vec<String>> = self
            .done
            .iter()
            .map(|(name, what, elapsed)| vec![name.clone(), seconds(*elapsed), what.clone()])
            .collect();
        rows.push(vec!["total".to_owned(), seconds(total), String::new()]);
        table::render(&["done", "took", "what"], &rows)
    }
}
