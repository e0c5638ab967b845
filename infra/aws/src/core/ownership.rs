//! Whether a resource belongs to the stack.
//!
//! A regional service lists its own region only, so the stack's tag decides. IAM lists the roles and profiles of all
//! regions, so the region's tag or the path must name this region as well.

use stack::inventory::{Claim, Inventory, Profile, Role, Stray};
use stack::spec::{REGION_TAG, STACK_TAG};
use stack::{Resource, Stack};

use crate::core::tag;

/// Whose resource has one of the stack's names.
#[derive(Debug, Default)]
pub(crate) enum Sighted<T> {
    /// Nothing has the name.
    #[default]
    Absent,
    /// It is the stack's.
    Ours(T),
    /// It is the stack's, but nothing says of which region: that depends on what uses it.
    Unplaced(T),
    /// It belongs to somebody else.
    Stray(Stray),
}

impl<T> Sighted<T> {
    /// Returns the resource if it is known to be the stack's.
    pub(crate) fn ours(self) -> Option<T> {
        if let Sighted::Ours(found) = self { Some(found) } else { None }
    }

    /// Treats somebody else's resource as absent: under a name of earlier versions it is in nobody's way.
    pub(crate) fn unless_stray(self) -> Sighted<T> {
        if matches!(self, Sighted::Stray(_)) { Sighted::Absent } else { self }
    }

    /// Returns the resource if it is the stack's, and adds it to `strays` if it is not. One that names no region is the
    /// stack's if the stack uses it.
    pub(crate) fn settle(
        self,
        strays: &mut Vec<Stray>,
        is_used: impl Fn(&T) -> bool,
        stray: impl Fn(&T) -> Stray,
    ) -> Option<T> {
        match self {
            Sighted::Absent => None,
            Sighted::Ours(found) => Some(found),
            Sighted::Unplaced(found) if is_used(&found) => Some(found),
            Sighted::Unplaced(found) => {
                strays.push(stray(&found));
                None
            }
            Sighted::Stray(stray) => {
                strays.push(stray);
                None
            }
        }
    }
}

/// Whose a role or a profile is, by its path and its tags.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    Ours,
    /// The stack's, but nothing says of which region.
    Unplaced,
    Other(Claim),
}

/// Returns whose a role or a profile is.
pub(crate) fn whose<'a>(stack: &Stack, path: &str, tags: impl Iterator<Item = (&'a str, &'a str)>) -> Whose {
    let tags: Vec<(&str, &str)> = tags.collect();
    let value = |wanted| tags.iter().find(|(key, _)| *key == wanted).map(|(_, value)| *value);
    let (owner, region) = (value(STACK_TAG), value(REGION_TAG));
    let root = stack.iam_root();
    let below = path.strip_prefix(root.as_str());
    let is_stacks = match owner {
        Some(_) => tag::is_of(stack, tags.iter().copied()),
        None => below.is_some(),
    };
    if !is_stacks {
        return Whose::Other(Claim::NoTag);
    }
    let of_path = below.map(|rest| rest.trim_end_matches('/')).filter(|rest| !rest.is_empty());
    match region.or(of_path) {
        Some(region) if region == stack.region => Whose::Ours,
        Some(region) => Whose::Other(Claim::OtherRegion(region.to_owned())),
        None => Whose::Unplaced,
    }
}

/// Puts roles and profile into the inventory, which must hold instances and database already: one that names no region
/// belongs to this region if the bastion or the database uses it.
pub(crate) fn settle(
    inventory: &mut Inventory,
    found: (Sighted<Profile>, Sighted<Role>),
    monitoring: Sighted<Role>,
) {
    let (of_profile, of_role) = found;
    let mut strays = Vec::new();
    let runs_with = |profile: &Profile| {
        inventory.instances.iter().any(|one| one.profile_arn.as_ref() == Some(&profile.arn))
    };
    let unplaced = |resource: Resource, id: &str, arn: &str| Stray {
        resource,
        id: id.to_owned(),
        arn: Some(arn.to_owned()),
        state: None,
        claim: Claim::NoRegion,
    };
    let profile = of_profile
        .settle(&mut strays, runs_with, |profile| unplaced(Resource::Profile, &profile.name, &profile.arn));
    let is_in_it = |role: &Role| profile.iter().any(|profile| profile.roles.contains(&role.name));
    let stray = |role: &Role| unplaced(Resource::Role, &role.name, &role.arn);
    let role = of_role.settle(&mut strays, is_in_it, stray);
    let writes = |role: &Role| {
        inventory.database.iter().any(|database| database.monitoring_role.as_ref() == Some(&role.arn))
    };
    let stray = |role: &Role| unplaced(Resource::MonitoringRole, &role.name, &role.arn);
    inventory.monitoring_role = monitoring.settle(&mut strays, writes, stray);
    (inventory.profile, inventory.role) = (profile, role);
    inventory.strays.extend(strays);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_the_stacks_by_its_tags_or_its_path_and_never_that_of_another_region() {
        let text = "project = \"shop\"\nenvironment = \"prod\"\nregion = \"us-east-1\"\n";
        let stack = stack::config::parse(text, "stack.toml").expect("the file is right");
        let (own, root) = ("/drawbridge/shop/prod/us-east-1/", "/drawbridge/shop/prod/");
        let (stacks, other) = ((STACK_TAG, "shop-prod"), (STACK_TAG, "else-prod"));
        let (here, there) = ((REGION_TAG, "us-east-1"), (REGION_TAG, "us-west-2"));
        let elsewhere = || Whose::Other(Claim::OtherRegion("us-west-2".to_owned()));
        let foreign = || Whose::Other(Claim::NoTag);
        type Tags<'a> = &'a [(&'a str, &'a str)];
        let cases: [(&str, Tags<'_>, Whose); 12] = [
            (own, &[stacks, here], Whose::Ours),
            ("/", &[stacks, here], Whose::Ours),
            (own, &[], Whose::Ours),
            (root, &[stacks], Whose::Unplaced),
            (root, &[], Whose::Unplaced),
            ("/", &[stacks], Whose::Unplaced),
            (root, &[stacks, here], Whose::Ours),
            (root, &[stacks, there], elsewhere()),
            (own, &[stacks, there], elsewhere()),
            ("/drawbridge/shop/prod/us-west-2/", &[stacks], elsewhere()),
            (own, &[other, here], foreign()),
            ("/", &[here], foreign()),
        ];
        for (path, tags, expected) in cases {
            assert_eq!(whose(&stack, path, tags.iter().copied()), expected, "{path} {tags:?}");
        }
    }
}
