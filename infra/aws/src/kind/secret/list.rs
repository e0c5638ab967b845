//! Lists the secrets that have the stack's tag or one of its names.

use std::collections::BTreeSet;

use futures_util::future::try_join3;
use stack::inventory::SecretEntry;
use stack::{Resource, Stack};

use super::describe::describe_all;
use super::owner;
use crate::{Cloud, Error};

/// Returns the secrets with the stack's tag, whatever their names, and the secrets of others under a name that the stack
/// needs. Secrets that are scheduled for deletion are included.
///
/// A list may be five minutes old, so only its names count: each secret is then looked up, and so are the names that must
/// exist.
pub(crate) async fn list(cloud: &Cloud, stack: &Stack) -> Result<Vec<SecretEntry>, Error> {
    let mut known = BTreeSet::from([stack.master_secret_name()]);
    known.extend(stack.tenants.iter().map(|tenant| stack.role_secret_name(&tenant.owner)));
    let (by_name, by_tag, mut entries) = try_join3(
        owner::under_prefix(cloud, stack),
        owner::tagged(cloud, stack),
        describe_all(cloud, stack, &known, &[]),
    )
    .await?;
    // Another stack's secrets are not looked up: the caller may have no permission for them.
    let by_name = by_name.iter().filter(|entry| entry.tagged || entry.owner.is_none());
    let listed = by_name.chain(&by_tag).map(|entry| entry.name.clone());
    let listed: BTreeSet<String> = listed.filter(|name| !known.contains(name)).collect();
    entries.extend(describe_all(cloud, stack, &listed, &by_tag).await?);
    // Another stack's prefix may begin with this one.
    entries.retain(|entry| entry.tagged || known.contains(&entry.name));
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// Returns the master user's secrets that a list shows, whatever their names.
pub(crate) async fn masters(cloud: &Cloud, stack: &Stack) -> Result<Vec<SecretEntry>, Error> {
    let mut found = owner::tagged(cloud, stack).await?;
    found.retain(|entry| entry.resource == Resource::MasterSecret.tag());
    Ok(found)
}
