//! Deletes a secret: at once, or after a recovery window.

use stack::Stack;
use stack::inventory::SecretEntry;
use stack::plan::SecretRetention;
use stack::receipt::Kept;

use super::describe::SERVICE;
use crate::core::deletion_proof::{DeletionProof, Presence, wait_until_absent};
use crate::core::job::Job;
use crate::core::retry::delete;
use crate::error::failed;
use crate::{Cloud, Error};

/// The outcome of a secret's deletion.
pub(crate) enum Deletion {
    /// It no longer exists, and its name is free.
    Gone(DeletionProof),
    /// It can be restored.
    Kept(Kept),
}

/// Deletes the secret as the options say: by default at once, so that its name is free for the next `up`.
pub(crate) async fn destroy(job: &Job<'_>, name: &str) -> Result<Deletion, Error> {
    if let SecretRetention::Recoverable { days } = job.options.retention.secrets {
        return schedule(job, name, days).await;
    }
    let call = || async {
        let call = job.cloud.secrets.delete_secret().secret_id(name).force_delete_without_recovery(true);
        call.send().await.map_err(failed(SERVICE, "DeleteSecret"))
    };
    delete(job, call).await?;
    // AWS deletes in the background.
    let proof = wait_until_absent(job, SERVICE, "DescribeSecret", || async {
        let call = job.cloud.secrets.describe_secret().secret_id(name).send();
        let answer = call.await.map_err(failed(SERVICE, "DescribeSecret"))?;
        let state = if answer.deleted_date().is_some() { "scheduled for deletion" } else { "still there" };
        Ok(Presence::Present(state.to_owned()))
    });
    proof.await.map(Deletion::Gone)
}

async fn schedule(job: &Job<'_>, name: &str, days: u8) -> Result<Deletion, Error> {
    let describe = || async {
        let call = job.cloud.secrets.describe_secret().secret_id(name).send();
        call.await.map_err(failed(SERVICE, "DescribeSecret"))
    };
    if describe().await?.deleted_date().is_none() {
        let call = job.cloud.secrets.delete_secret().secret_id(name).recovery_window_in_days(i64::from(days));
        call.send().await.map_err(failed(SERVICE, "DeleteSecret"))?;
    }
    let answer = describe().await?;
    let date = answer.deleted_date().ok_or_else(|| Error::Failed {
        subject: format!("secret `{name}`"),
        status: "not scheduled for deletion".to_owned(),
    })?;
    let date = date.fmt(aws_sdk_secretsmanager::primitives::DateTimeFormat::DateTime).unwrap_or_default();
    Ok(Deletion::Kept(Kept {
        kind: "secret".to_owned(),
        id: name.to_owned(),
        why: format!("can be restored; deletion was asked for at, or is due at, {date}"),
        command: forget(job.cloud, name),
    }))
}

/// Returns the receipt's entry for a secret that is kept.
pub(crate) fn kept(cloud: &Cloud, stack: &Stack, entry: &SecretEntry) -> Kept {
    Kept {
        kind: "secret".to_owned(),
        id: entry.name.clone(),
        why: format!("`--keep-secrets`; the next `up` of stack `{}` uses it", stack.name),
        command: forget(cloud, &entry.name),
    }
}

fn forget(cloud: &Cloud, name: &str) -> String {
    format!(
        "aws secretsmanager delete-secret --secret-id {name} --force-delete-without-recovery --region {}",
        cloud.region
    )
}
