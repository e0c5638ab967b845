//! All secrets that have to do with the stack.

use std::collections::BTreeSet;

use futures_util::future::try_join3;
use stack::inventory::SecretEntry;
use stack::{Resource, Stack};

use super::describe::describe_all;
use super::owner;
use crate::{Cloud, Error};

/// Returns the secrets with the stack's tag, also those under other names than the stack file makes, and what others have
/// under a name that the stack needs; those that are scheduled for deletion included.
///
/// A list may be five minutes behind, so it only supplies names; each is then asked for by itself, and so are the
/// names that must exist.
pub(crate) async fn list(cloud: &Cloud, stack: &Stack) -> Result<Vec<SecretEntry>, Error> {
    let mut known = BTreeSet::from([stack.master_secret_name()]);
    known.extend(stack.tenants.iter().map(|tenant| stack.role_secret_name(&tenant.owner)));
    let (by_name, by_tag, mut entries) = try_join3(
        owner::under_prefix(cloud, stack),
        owner::tagged(cloud, stack),
        describe_all(cloud, stack, &known, &[]),
    )
    .await?;
    // What carries another stack's tag need not be looked at, and may not be allowed to be.
    let by_name = by_name.iter().filter(|entry| entry.tagged || entry.owner.is_none());
    let listed = by_name.chain(&by_tag).map(|entry| entry.name.clone());
    let listed: BTreeSet<String> = listed.filter(|name| !known.contains(name)).collect();
    entries.extend(describe_all(cloud, stack, &listed, &by_tag).await?);
    // A prefix may be the beginning of another stack's.
    entries.retain(|entry| entry.tagged || known.contains(&entry.name));
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// Returns the secrets of the master user that a list shows, under whatever names.
pub(crate) async fn masters(cloud: &Cloud, stack: &Stack) -> Result<Vec<SecretEntry>, Error> {
    let mut found = owner::tagged(cloud, stack).await?;
    found.retain(|entry| entry.resource == Resource::MasterSecret.tag());
    Ok(found)
}
