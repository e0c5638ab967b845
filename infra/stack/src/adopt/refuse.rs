//! What may not be taken over, whatever the file says.

use super::{Candidate, Observed, Part, name};
use crate::inventory::Inventory;
use crate::resource::Resource;
use crate::spec::{REGION_TAG, RESOURCE_TAG, STACK_TAG, Stack};

/// Returns why these cannot be taken over, a sentence each; none if they can.
pub fn objections(stack: &Stack, inventory: &Inventory, candidates: &[Candidate]) -> Vec<String> {
    let named = candidates.iter().find(|one| one.part == Part::Of(Resource::Vpc));
    let vpc = named.map(|vpc| vpc.id.as_str()).or_else(|| inventory.vpc().map(|vpc| vpc.id.as_str()));
    let each = |candidate| {
        owner(stack, candidate)
            .or_else(|| taken(inventory, candidate))
            .or_else(|| place(vpc, candidate))
            .or_else(|| state(stack, candidate, name::prefix(stack, candidates)))
    };
    candidates.iter().filter_map(each).collect()
}

/// What belongs to somebody stays theirs.
fn owner(stack: &Stack, candidate: &Candidate) -> Option<String> {
    let shown = candidate.shown();
    let owner = candidate.tags.get(STACK_TAG)?;
    if *owner != stack.name {
        return Some(format!("{shown} belongs to stack `{}`", owner.escape_debug()));
    }
    let region = candidate.tags.get(REGION_TAG).filter(|region| **region != stack.region);
    if let Some(region) = region {
        return Some(format!("{shown} belongs to stack `{owner}` in `{}`", region.escape_debug()));
    }
    let part = candidate.tags.get(RESOURCE_TAG).filter(|part| *part != candidate.part.tag())?;
    Some(format!("{shown} is the stack's `{}` already", part.escape_debug()))
}

/// There is room for one of each: of two, `up` would remove one.
fn taken(inventory: &Inventory, candidate: &Candidate) -> Option<String> {
    let tag = candidate.part.tag();
    let have = match &candidate.thing {
        Observed::Vpc(_) => inventory.vpc().map(|vpc| &vpc.id),
        Observed::Subnet(_) => inventory.subnet(tag).map(|subnet| &subnet.id),
        Observed::Gateway(_) => inventory.gateway().map(|gateway| &gateway.id),
        Observed::RouteTable(_) => inventory.route_table(tag).map(|table| &table.id),
        Observed::Group(_) => inventory.group(tag).map(|group| &group.id),
        Observed::Instance { .. } => inventory.bastion().map(|bastion| &bastion.id),
        // Their names are the stack's own: there is one of each.
        Observed::SubnetGroup { .. }
        | Observed::Database(_)
        | Observed::Secret(_)
        | Observed::Role { .. }
        | Observed::Profile { .. } => None,
    };
    let have = have.filter(|have| **have != candidate.id)?;
    Some(format!("{} cannot be the {}: the stack has `{have}`", candidate.shown(), candidate.part))
}

/// All of a stack's network is in one VPC.
fn place(vpc: Option<&str>, candidate: &Candidate) -> Option<String> {
    let of = match &candidate.thing {
        Observed::Subnet(subnet) => &subnet.vpc,
        Observed::Gateway(gateway) => gateway.attached.as_ref()?,
        Observed::RouteTable(table) => &table.vpc,
        Observed::Group(group) => &group.vpc,
        Observed::SubnetGroup { group, .. } => &group.vpc,
        Observed::Vpc(_)
        | Observed::Database(_)
        | Observed::Secret(_)
        | Observed::Role { .. }
        | Observed::Profile { .. }
        | Observed::Instance { .. } => return None,
    };
    let shown = candidate.shown();
    match vpc {
        Some(vpc) if vpc == of => None,
        Some(vpc) => Some(format!("{shown} is in `{of}`, not in `{vpc}`")),
        None => Some(format!("{shown} is in `{of}`, which the file does not name: add `VPC_ID='{of}'`")),
    }
}

fn state(stack: &Stack, candidate: &Candidate, prefix: &str) -> Option<String> {
    let shown = candidate.shown();
    match (&candidate.thing, &candidate.part) {
        (Observed::Role { path, .. } | Observed::Profile { path, .. }, _)
            if ![String::from("/"), stack.iam_root(), stack.iam_path()].contains(path) =>
        {
            let (root, own) = (stack.iam_root(), stack.iam_path());
            Some(format!("{shown} lies under the path `{path}`; only `/`, `{root}` and `{own}` do"))
        }
        (Observed::Secret(secret), _) if secret.scheduled_for_deletion => Some(format!(
            "{shown} is scheduled for deletion: restore it first (`aws secretsmanager restore-secret \
             --secret-id {}`), or leave its line out",
            secret.arn
        )),
        (Observed::Secret(secret), Part::RoleSecret(role)) if secret.name != format!("{prefix}/{role}") => {
            Some(format!(
                "{shown} would have to be called `{prefix}/{role}`, and a secret keeps its name: leave its \
                 line out, and `cargo xtask tenant create` makes one"
            ))
        }
        _ => None,
    }
}
