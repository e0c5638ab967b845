//! `iam print`: the policy that a task needs.

use std::process::ExitCode;

use stack::policy::{self, MANAGED_POLICY_LIMIT, Task};

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::view;

/// Prints the policy as JSON, which is its only form.
pub async fn run(context: &Context, task: &xtask::Iam) -> Result<ExitCode, Failure> {
    let xtask::Iam::Print(args) = task;
    let account = match &args.account {
        Some(account) => Some(account.clone()),
        None => find_account(context).await?,
    };
    let parts = policy::of(&context.stack, account.as_deref(), wanted(args.task)).split();
    let lengths: Vec<String> = parts.iter().map(|part| part.length().to_string()).collect();
    context.view.say(format!(
        "{} of the {MANAGED_POLICY_LIMIT} characters that a managed policy may have",
        lengths.join(" and ")
    ));
    let text = match parts.as_slice() {
        [policy] => serde_json::to_string_pretty(policy),
        _ => {
            context
                .events
                .warn(format!("too long for one managed policy: a list of {} follows", parts.len()));
            serde_json::to_string_pretty(&parts)
        }
    };
    view::pass(&text.map_err(anyhow::Error::from)?)?;
    Ok(ExitCode::SUCCESS)
}

fn wanted(task: xtask::IamTask) -> Task {
    match task {
        xtask::IamTask::Status => Task::Status,
        xtask::IamTask::Doctor => Task::Doctor,
        xtask::IamTask::Bastion => Task::Bastion,
        xtask::IamTask::Connect => Task::Connect,
        xtask::IamTask::Migrate => Task::Migrate,
        xtask::IamTask::Tenant => Task::Tenant,
        xtask::IamTask::Rotate => Task::Rotate,
        xtask::IamTask::Up => Task::Up,
        xtask::IamTask::Down => Task::Down,
        xtask::IamTask::Adopt => Task::Adopt,
    }
}

/// Returns the account of the credentials; `None`, which is told, if there are none: a policy can be read without.
async fn find_account(context: &Context) -> Result<Option<String>, Failure> {
    let identity = async {
        let cloud = Box::pin(context.access.connect(&context.stack)).await?;
        Ok::<_, Failure>(Box::pin(cloud.identity()).await?)
    };
    match identity.await {
        Ok(identity) => Ok(Some(identity.account)),
        Err(failure) if failure.exit == Exit::Permission => {
            context.events.warn("the account is not known and stands as `*`; name it with `--account ID`");
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
}
