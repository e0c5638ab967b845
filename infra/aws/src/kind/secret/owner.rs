//! Whose a secret is: the stack's tag decides, and secrets of others are neither read nor written.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_secretsmanager::types::{Filter, FilterNameStringType, SecretListEntry};
use stack::Stack;
use stack::inventory::SecretEntry;
use stack::spec::STACK_TAG;

use super::describe::{AT_ONCE, SERVICE, describe, describe_all, entry};
use crate::error::failed;
use crate::{Cloud, Error};

/// Returns the secret of that name without its value; `None` if there is none.
///
/// # Errors
/// [`Error::Foreign`] if it does not have the stack's tag.
pub(crate) async fn own(cloud: &Cloud, stack: &Stack, name: &str) -> Result<Option<SecretEntry>, Error> {
    match describe(cloud, stack, name).await? {
        Some(entry) if !entry.tagged => Err(Error::Foreign { what: "secret", name: entry.name }),
        found => Ok(found),
    }
}

/// Checks that all of these secrets that exist have the stack's tag.
///
/// # Errors
/// [`Error::Foreign`] names the first that does not.
pub async fn check_all(cloud: &Cloud, stack: &Stack, names: &BTreeSet<String>) -> Result<(), Error> {
    let own = match names.len() <= AT_ONCE {
        true => BTreeMap::new(),
        // Secrets that the list does not show are looked up one by one; if it is refused, all are.
        false => arns(cloud, stack).await.unwrap_or_default(),
    };
    let open = names.iter().filter(|name| !own.contains_key(*name)).cloned().collect();
    match describe_all(cloud, stack, &open, &[]).await?.into_iter().find(|entry| !entry.tagged) {
        Some(entry) => Err(Error::Foreign { what: "secret", name: entry.name }),
        None => Ok(()),
    }
}

/// Returns the secrets with the stack's tag that a list shows; it may be five minutes old.
pub(super) async fn tagged(cloud: &Cloud, stack: &Stack) -> Result<Vec<SecretEntry>, Error> {
    let filter = |key: FilterNameStringType, value: &str| Filter::builder().key(key).values(value).build();
    let key = filter(FilterNameStringType::TagKey, STACK_TAG);
    let value = filter(FilterNameStringType::TagValue, &stack.name);
    let mut entries = listed(cloud, stack, vec![key, value]).await?;
    // The filters compare prefixes, and match the key of one tag with the value of another.
    entries.retain(|entry| entry.tagged);
    Ok(entries)
}

/// Returns the secrets that a list shows under the stack's prefix, whoever owns them.
pub(super) async fn under_prefix(cloud: &Cloud, stack: &Stack) -> Result<Vec<SecretEntry>, Error> {
    let prefix = format!("{}/", stack.database.secret_prefix);
    let filter = Filter::builder().key(FilterNameStringType::Name).values(&prefix).build();
    let mut entries = listed(cloud, stack, vec![filter]).await?;
    entries.retain(|entry| entry.name.starts_with(&prefix));
    Ok(entries)
}

/// Returns the ARNs of the secrets with the stack's tag, by name. A secret that is created again has another ARN.
pub(super) async fn arns(cloud: &Cloud, stack: &Stack) -> Result<BTreeMap<String, String>, Error> {
    Ok(tagged(cloud, stack).await?.into_iter().map(|entry| (entry.name, entry.arn)).collect())
}

async fn listed(cloud: &Cloud, stack: &Stack, filters: Vec<Filter>) -> Result<Vec<SecretEntry>, Error> {
    let call = cloud.secrets.list_secrets().include_planned_deletion(true).set_filters(Some(filters));
    let mut pages = call.into_paginator().send();
    let mut entries = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(failed(SERVICE, "ListSecrets"))?;
        entries.extend(page.secret_list().iter().map(|found| read(stack, found)));
    }
    Ok(entries)
}

fn read(stack: &Stack, found: &SecretListEntry) -> SecretEntry {
    entry(stack, found.name(), found.arn(), found.tags(), found.deleted_date(), found.created_date())
}
