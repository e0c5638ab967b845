//! Secrets as Secrets Manager describes them, without their values.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_secretsmanager::operation::describe_secret::DescribeSecretOutput;
use aws_sdk_secretsmanager::primitives::{DateTime, DateTimeFormat};
use aws_sdk_secretsmanager::types::Tag;
use futures_util::future::FutureExt;
use futures_util::stream::{FuturesUnordered, TryStreamExt};
use stack::Stack;
use stack::inventory::SecretEntry;
use stack::spec::{RESOURCE_TAG, STACK_TAG};

use crate::core::tag;
use crate::error::failed;
use crate::{Cloud, Error, Kind};

pub(super) const SERVICE: &str = "secretsmanager";
/// Calls at a time.
pub(super) const AT_ONCE: usize = 16;

/// Returns the secrets of these names that exist. For one that the caller may not describe, returns the list's entry.
pub(super) async fn describe_all(
    cloud: &Cloud,
    stack: &Stack,
    names: &BTreeSet<String>,
    shown: &[SecretEntry],
) -> Result<Vec<SecretEntry>, Error> {
    let mut names = names.iter();
    let mut running = FuturesUnordered::new();
    let mut entries = Vec::new();
    let look = |name| async move {
        match describe(cloud, stack, name).await {
            Err(error) if error.kind() == Kind::Credentials => {
                let shown = shown.iter().find(|entry| entry.name == *name).cloned();
                shown.map(Some).ok_or(error)
            }
            found => found,
        }
    };
    loop {
        running.extend(names.by_ref().take(AT_ONCE - running.len()).map(|name| look(name).boxed()));
        let Some(found) = running.try_next().await? else { return Ok(entries) };
        entries.extend(found);
    }
}

/// Returns the secret of that name without its value, if there is one.
pub(crate) async fn describe(cloud: &Cloud, stack: &Stack, name: &str) -> Result<Option<SecretEntry>, Error> {
    let call = cloud.secrets.describe_secret().secret_id(name).send();
    match call.await.map_err(failed(SERVICE, "DescribeSecret")) {
        Ok(answer) => Ok(Some(SecretEntry { name: name.to_owned(), ..read(stack, &answer) })),
        Err(error) if error.is_gone() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the secret that the ARN leads to, with all its tags.
pub(crate) async fn by_arn(
    cloud: &Cloud,
    stack: &Stack,
    arn: &str,
) -> Result<Option<(SecretEntry, BTreeMap<String, String>)>, Error> {
    let call = cloud.secrets.describe_secret().secret_id(arn).send();
    match call.await.map_err(failed(SERVICE, "DescribeSecret")) {
        Ok(answer) => {
            let tags = answer.tags().iter().filter_map(|tag| Some((tag.key()?, tag.value()?)));
            Ok(Some((read(stack, &answer), tag::map(tags))))
        }
        Err(error) if error.is_gone() => Ok(None),
        Err(error) => Err(error),
    }
}

fn read(stack: &Stack, answer: &DescribeSecretOutput) -> SecretEntry {
    let (name, arn) = (answer.name(), answer.arn());
    entry(stack, name, arn, answer.tags(), answer.deleted_date(), answer.created_date())
}

pub(super) fn entry(
    stack: &Stack,
    name: Option<&str>,
    arn: Option<&str>,
    tags: &[Tag],
    deleted: Option<&DateTime>,
    created: Option<&DateTime>,
) -> SecretEntry {
    let value = |key| tags.iter().find(|tag| tag.key() == Some(key)).and_then(Tag::value).map(str::to_owned);
    let owner = value(STACK_TAG);
    SecretEntry {
        name: name.unwrap_or_default().to_owned(),
        arn: arn.unwrap_or_default().to_owned(),
        scheduled_for_deletion: deleted.is_some(),
        tagged: tag::is_of(stack, tags.iter().filter_map(|tag| Some((tag.key()?, tag.value()?)))),
        owner,
        resource: value(RESOURCE_TAG).unwrap_or_default(),
        created_at: created.and_then(|time| time.fmt(DateTimeFormat::DateTime).ok()),
    }
}

/// Tells whether the secret is refused because it is scheduled for deletion.
pub(super) fn is_scheduled(error: &Error) -> bool {
    error.code() == Some("InvalidRequestException")
}
