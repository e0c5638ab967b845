//! `down`: takes everything down and proves that nothing is left.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use aws::{ApplyOptions, Cloud, Teardown};
use stack::plan::{Action, Retention, SecretRetention, Snapshot, Step};
use stack::receipt::{Audit, Evidence, Head, Left, Verdict, is_thing};
use stack::{Component, Inventory, Plan, Receipt, Resource};

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::running::{self, Running};
use crate::stack_lock::{self, Freshness, Outcome};
use crate::task::{audit, plan};
use crate::text::{Text, put_line};
use crate::{cause, confirm, connected, report, view};

/// A teardown: what is to go, how, and where.
struct Job<'a> {
    context: &'a Context,
    cloud: &'a Cloud,
    account: String,
    plan: Plan,
    only: Vec<Component>,
    options: ApplyOptions,
    /// Whether somebody has seen the plan.
    is_shown: bool,
}

/// Shows the plan, asks for the stack's name, carries it out, looks again, and gives the receipt.
pub async fn run(context: &Context, args: &xtask::Down) -> Result<ExitCode, Failure> {
    let only = plan::components(&args.components);
    let options = options(context, args)?;
    let began_at = now()?;
    let (cloud, identity, seen) = context.look().await?;
    let account = identity.account;
    let inventory = match seen {
        Ok(inventory) => inventory,
        // We are let in, but cannot see what there is: nothing is deleted blindly, and nothing is called gone.
        Err(error) => {
            let unseen = vec![aws::unseen("what there is of the stack", &error)];
            let evidence = Evidence { unseen, ..Evidence::default() };
            let nothing = stack::plan::down_with(&Inventory::default(), &only, &options.retention);
            let receipt =
                Receipt::new(head(context, account, began_at)?, &nothing, evidence, Audit::default());
            let given = give(context, args.receipt.as_deref(), &receipt);
            let hints = cause::hints(&error);
            let failure = Failure::new(Exit::Leftovers, error)
                .hint("nothing was deleted: allow what was refused, then run `cargo xtask down` again");
            let failure = hints.into_iter().fold(failure, Failure::hint);
            return report::after(context, Err(failure), given).map(|()| ExitCode::SUCCESS);
        }
    };
    let plan = stack::plan::down_with(&inventory, &only, &options.retention);
    let shown = plan::render(&context.stack, &inventory, &plan);
    if args.dry_run {
        view::result(context.json, &shown, &plan::document(&context.stack, &inventory, &plan))?;
        // What would not begin is not shown as what would be done.
        let refused = stack::stray::refuse_down(&context.stack, &inventory, &plan);
        return refused.map_or(Ok(ExitCode::SUCCESS), |(refusal, _)| Err(Failure::from(refusal)));
    }
    if let Some(path) = &args.receipt {
        report::try_writing(path)?;
    }
    let mut job = Job { context, cloud: &cloud, account, plan, only, options, is_shown: true };
    let mut inventory = inventory;
    let (receipt, teardown) = loop {
        context.view.say_lines(&plan::render(&context.stack, &inventory, &job.plan));
        if let Some((refusal, living)) = stack::stray::refuse_down(&context.stack, &inventory, &job.plan) {
            return refuse(&job, args, &inventory, living, began_at, Failure::from(refusal));
        }
        if let Some(left) = protected(&inventory, &job) {
            let text = format!("database `{}` is protected against deletion; nothing was deleted", left.id);
            let failure = Failure::new(Exit::Leftovers, anyhow::Error::msg(text))
                .hint("run `cargo xtask down --unprotect` if its data may go");
            return refuse(&job, args, &inventory, vec![left], began_at, failure);
        }
        job.ask(&inventory).await?;
        match Box::pin(job.carry_out(inventory, began_at.clone())).await? {
            Outcome::Done(done) => break done,
            Outcome::Changed(now) => {
                context.view.say("what exists has changed since the plan was shown; nothing was deleted yet");
                job.plan = stack::plan::down_with(&now, &job.only, &job.options.retention);
                inventory = *now;
            }
        }
    };
    let given = give(context, args.receipt.as_deref(), &receipt);
    let still_running = job.still_running(&receipt, &teardown).await;
    let outcome = failure(&receipt, &teardown, still_running).map_or(Ok(()), Err);
    report::after(context, outcome, given).map(|()| ExitCode::SUCCESS)
}

/// Takes everything down without asking, and returns how many parts that were.
pub async fn demolish(context: &Context) -> Result<usize, Failure> {
    let began_at = now()?;
    let (cloud, identity, inventory) = context.look().await?;
    let inventory = inventory?;
    let retention = Retention { snapshot: snapshot_of(context), secrets: SecretRetention::Delete };
    let plan = stack::plan::down_with(&inventory, &[], &retention);
    let options = ApplyOptions { retention, ..ApplyOptions::default() };
    let (account, only) = (identity.account, Vec::new());
    let job = Job { context, cloud: &cloud, account, plan, only, options, is_shown: false };
    let (receipt, teardown) = match Box::pin(job.carry_out(inventory, began_at)).await? {
        Outcome::Done(done) => done,
        Outcome::Changed(_) => {
            let text = "what exists has changed since it was looked at; nothing was deleted";
            return Err(Failure::new(Exit::Drift, anyhow::Error::msg(text)));
        }
    };
    let still_running = job.still_running(&receipt, &teardown).await;
    match failure(&receipt, &teardown, still_running) {
        None => Ok(receipt.gone.len()),
        Some(failure) => Err(failure),
    }
}

impl Job<'_> {
    /// Says who loses a connection, and asks.
    async fn ask(&self, inventory: &Inventory) -> Result<(), Failure> {
        let Job { context, cloud, plan, only, .. } = self;
        let goes = |id: &str| {
            plan.steps.iter().any(|step| matches!(&step.action, Action::Delete { id: gone } if gone == id))
        };
        let going = inventory.instances.iter().filter(|instance| goes(&instance.id));
        let connected = connected::find(cloud, going).await?;
        if !connected.is_empty() {
            context.view.say_lines(&connected::render(&connected));
        }
        if plan.is_empty() {
            return Ok(());
        }
        if only.is_empty() {
            let question = "this deletes the whole stack, every tenant's data included";
            return confirm::name(context, question, &context.stack.name);
        }
        confirm::yes(context, "delete these?")
    }

    async fn carry_out(
        &self,
        inventory: Inventory,
        began_at: String,
    ) -> Result<Outcome<(Receipt, Teardown)>, Failure> {
        let Job { context, cloud, options, .. } = self;
        let work = async |inventory: Inventory| {
            let (stack, events, stop) = (&context.stack, &context.events, &context.stop);
            // Another run may have made more, or less is there.
            let plan = stack::plan::down_with(&inventory, &self.only, &options.retention);
            if let Some((refusal, _)) = stack::stray::refuse_down(stack, &inventory, &plan) {
                return Err(Failure::from(refusal));
            }
            let is_seen = |plan| {
                Ok::<bool, Failure>(
                    protected(&inventory, self).is_none()
                        && stack_lock::goes_on(context, plan, &self.plan, "down")?,
                )
            };
            if self.is_shown && !is_seen(&plan)? {
                return Ok(Outcome::Changed(Box::new(inventory)));
            }
            if self.is_shown && !plan.is_as_agreed(&self.plan) {
                context.view.say("what exists has changed since the plan was shown; this goes now:");
                context.view.say_lines(&plan::render(stack, &inventory, &plan));
            }
            let going = aws::teardown(cloud, stack, &plan, inventory, options, events, stop);
            let teardown = Box::pin(going).await;
            let found = if self.only.is_empty() {
                Box::pin(aws::audit(cloud, stack)).await
            } else {
                self.look_again().await
            };
            Ok(Outcome::Done((plan, teardown, found)))
        };
        // Though there be nothing to do: the last look must not find what another run has just begun.
        let freshness = if self.plan.is_empty() {
            Freshness::UnlessLocked
        } else {
            Freshness::UnlessLocked.unless_asked(context)
        };
        let changing = stack_lock::change(context, cloud, ("down", freshness), inventory, work);
        let (plan, mut teardown, found) = match Box::pin(changing).await? {
            Outcome::Done(done) => done,
            Outcome::Changed(now) => return Ok(Outcome::Changed(now)),
        };
        let head = head(context, self.account.clone(), began_at)?;
        let receipt = Receipt::new(head, &plan, std::mem::take(&mut teardown.evidence), found);
        Ok(Outcome::Done((receipt, teardown)))
    }

    /// Looks at what still runs, unless all that was to go is gone.
    async fn still_running(&self, receipt: &Receipt, teardown: &Teardown) -> Vec<Running> {
        if receipt.verdict == Verdict::Gone {
            return Vec::new();
        }
        running::now(&self.context.stack, self.cloud, &teardown.inventory).await
    }

    /// The rest of the stack stays, so only what was to go must be gone.
    async fn look_again(&self) -> Audit {
        match Box::pin(aws::observe(self.cloud, &self.context.stack)).await {
            Ok(inventory) => {
                let again = stack::plan::down_with(&inventory, &self.only, &self.options.retention);
                let left = again.steps.iter().filter(|step| is_thing(step)).filter_map(leftover);
                Audit { left: left.collect(), unseen: Vec::new() }
            }
            Err(error) => {
                let unseen = vec![aws::unseen("what there is of the stack", &error)];
                Audit { left: Vec::new(), unseen }
            }
        }
    }
}

fn options(context: &Context, args: &xtask::Down) -> Result<ApplyOptions, Failure> {
    let snapshot = match &args.snapshot {
        Some(name) => {
            Snapshot::parse(name).map_err(|error| Failure::usage(format!("`--snapshot`: {error}")))?
        }
        None if args.no_snapshot => Snapshot::Skip,
        None => snapshot_of(context),
    };
    let secrets = match args.recovery_days {
        Some(days) => SecretRetention::Recoverable { days },
        None if args.keep_secrets => SecretRetention::Keep,
        None => SecretRetention::Delete,
    };
    let settle_within = Duration::from_secs(u64::from(args.wait));
    let retention = Retention { snapshot, secrets };
    Ok(ApplyOptions { unprotect: args.unprotect, retention, settle_within, ..ApplyOptions::default() })
}

fn snapshot_of(context: &Context) -> Snapshot {
    if context.stack.database.final_snapshot { Snapshot::Dated } else { Snapshot::Skip }
}

/// Returns the database if it goes but is protected: that is found before anything is deleted, not after the bastion is
/// gone.
fn protected(inventory: &Inventory, job: &Job<'_>) -> Option<Left> {
    let goes = job.plan.steps.iter().any(|step| step.resource == Resource::Database);
    let database = inventory.database.as_ref()?;
    (goes && database.deletion_protection && database.status != "deleting" && !job.options.unprotect).then(
        || Left {
            kind: Resource::Database.title().to_owned(),
            id: database.identifier.clone(),
            why: "protected against deletion; nothing was deleted".to_owned(),
            blockers: Vec::new(),
            command: Some("cargo xtask down --unprotect".to_owned()),
        },
    )
}

/// Deletes nothing, and says in the receipt what stays for that reason.
fn refuse(
    job: &Job<'_>,
    args: &xtask::Down,
    inventory: &Inventory,
    mut left: Vec<Left>,
    began_at: String,
    failure: Failure,
) -> Result<ExitCode, Failure> {
    let behind = job.plan.steps.iter().filter(|step| is_thing(step)).filter_map(leftover);
    let behind: Vec<Left> = behind.filter(|step| !left.iter().any(|one| one.id == step.id)).collect();
    left.extend(behind);
    let evidence = Evidence { left, ..Evidence::default() };
    let head = head(job.context, job.account.clone(), began_at)?;
    let receipt = Receipt::new(head, &job.plan, evidence, Audit::default());
    let given = give(job.context, args.receipt.as_deref(), &receipt);
    let failure = failure.still_running(running::of(&job.context.stack, inventory));
    report::after(job.context, Err(failure), given).map(|()| ExitCode::SUCCESS)
}

fn head(context: &Context, account: String, began_at: String) -> Result<Head, Failure> {
    let (stack, region) = (context.stack.name.clone(), context.stack.region.clone());
    Ok(Head { stack, account, region, began_at, ended_at: now()? })
}

fn now() -> Result<String, Failure> {
    let now = jiff::Timestamp::now().round(jiff::Unit::Second).map_err(anyhow::Error::from)?;
    Ok(now.to_string())
}

fn leftover(step: &Step) -> Option<Left> {
    let Action::Delete { id } = &step.action else { return None };
    let (kind, id) = (step.subject().to_owned(), id.clone());
    Some(Left { kind, id, why: step.detail.clone(), blockers: Vec::new(), command: None })
}

fn give(context: &Context, path: Option<&Path>, receipt: &Receipt) -> Result<(), Failure> {
    let shown = view::result(context.json, &render(receipt), receipt).map_err(Failure::from);
    let written = path.map_or(Ok(()), |path| report::write(path, &report::json(receipt)));
    report::after(context, shown, written)
}

/// Renders a receipt for people: counts of what is gone, names of all else.
pub(crate) fn render(receipt: &Receipt) -> Text {
    let gone = receipt.gone.len();
    let rest = match receipt.verdict {
        Verdict::Gone => "; nothing left of what was to go",
        Verdict::Left | Verdict::Unproved => "",
    };
    let mut text = Text::of(format_args!("down: {gone} parts gone, each shown by a call{rest}"));
    for kept in &receipt.kept {
        put_line!(text, "kept: {} {} ({}); `{}` removes it", kept.kind, kept.id, kept.why, kept.command);
    }
    text.add(&audit::tables(&receipt.left, &receipt.unseen));
    text
}

fn failure(receipt: &Receipt, teardown: &Teardown, still_running: Vec<Running>) -> Option<Failure> {
    let left: Vec<String> = receipt.left.iter().map(|one| format!("{} {}", one.kind, one.id)).collect();
    let unseen: Vec<String> =
        receipt.unseen.iter().map(|one| format!("{} ({})", one.what, one.call)).collect();
    let text = match receipt.verdict {
        Verdict::Gone => return None,
        Verdict::Left => format!("{} parts are left: {}", left.len(), left.join(", ")),
        Verdict::Unproved => {
            format!("nothing is known to be left, but could not be seen: {}", unseen.join(", "))
        }
    };
    let (exit, text) = if teardown.interrupted {
        (Exit::Interrupted, format!("interrupted: {text}"))
    } else {
        (Exit::Leftovers, text)
    };
    let hints = teardown.failed.iter().flat_map(|(_, error)| cause::hints(error));
    let failure = hints.fold(Failure::new(exit, anyhow::Error::msg(text)), Failure::hint);
    Some(
        failure
            .hint("run `cargo xtask down` again to go on from here; `cargo xtask audit` lists what is left")
            .still_running(still_running),
    )
}
