//! The tags that every resource has from its creation on: they are the only state that is kept.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{Filter, ResourceType, TagSpecification};
use stack::spec::{REGION_TAG, RESOURCE_TAG, STACK_TAG};
use stack::{Resource, Stack};

const PROJECT_TAG: &str = "Project";
const ENVIRONMENT_TAG: &str = "Environment";

/// The tags of one resource: keys and values.
pub(crate) type Pairs = [(&'static str, String); 6];

/// Returns the value of the `Name` tag.
pub(crate) fn name(stack: &Stack, resource: Resource) -> String {
    let part = if resource == Resource::Instance || resource == Resource::BastionGroup {
        "bastion"
    } else if resource == Resource::DatabaseGroup {
        "database"
    } else {
        resource.tag()
    };
    stack.name_of(part)
}

/// Returns the tags of one of the stack's resources.
pub(crate) fn pairs(stack: &Stack, resource: Resource) -> Pairs {
    named(stack, resource.tag(), name(stack, resource))
}

/// Returns the tags of what no plan has a step for: `kind` is the value of the resource tag.
pub(crate) fn named(stack: &Stack, kind: &str, name: String) -> Pairs {
    [
        (STACK_TAG, stack.name.clone()),
        (RESOURCE_TAG, kind.to_owned()),
        (REGION_TAG, stack.region.clone()),
        ("Name", name),
        (PROJECT_TAG, stack.project.clone()),
        (ENVIRONMENT_TAG, stack.environment.clone()),
    ]
}

/// Returns the tags as EC2's create calls take them.
pub(crate) fn ec2(stack: &Stack, resource: Resource, kind: ResourceType) -> TagSpecification {
    ec2_with(stack, resource, kind, None)
}

/// As [`ec2`], with one more tag.
pub(crate) fn ec2_with(
    stack: &Stack,
    resource: Resource,
    kind: ResourceType,
    more: Option<(&str, String)>,
) -> TagSpecification {
    let tag = |(key, value): (&str, String)| aws_sdk_ec2::types::Tag::builder().key(key).value(value).build();
    let tags = pairs(stack, resource).into_iter().chain(more).map(tag).collect();
    TagSpecification::builder().resource_type(kind).set_tags(Some(tags)).build()
}

/// Returns all of EC2's tags.
pub(crate) fn all(tags: &[aws_sdk_ec2::types::Tag]) -> BTreeMap<String, String> {
    map(tags.iter().filter_map(|tag| Some((tag.key()?, tag.value().unwrap_or_default()))))
}

/// Returns keys and values as a map.
pub(crate) fn map<'a>(tags: impl Iterator<Item = (&'a str, &'a str)>) -> BTreeMap<String, String> {
    tags.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// Returns the value of the resource tag; empty if there is none.
pub(crate) fn resource(tags: &[aws_sdk_ec2::types::Tag]) -> String {
    value(tags, RESOURCE_TAG).unwrap_or_default()
}

/// Returns the value of the tag of that name.
pub(crate) fn value(tags: &[aws_sdk_ec2::types::Tag], key: &str) -> Option<String> {
    tags.iter().find(|tag| tag.key() == Some(key))?.value().map(str::to_owned)
}

/// Tells whether these are the tags of one of the stack's resources.
///
/// Project `a-b` with environment `c` and project `a` with `b-c` have the same stack tag; the tags `Project` and
/// `Environment` tell them apart. People change those two, so they count only if they make up the stack's name.
pub(crate) fn is_of<'a>(stack: &Stack, tags: impl Iterator<Item = (&'a str, &'a str)>) -> bool {
    let (mut owner, mut project, mut environment) = (None, None, None);
    for (key, value) in tags {
        match key {
            STACK_TAG => owner = Some(value),
            PROJECT_TAG => project = Some(value),
            ENVIRONMENT_TAG => environment = Some(value),
            _ => (),
        }
    }
    let is_twins = project.zip(environment).is_some_and(|(project, environment)| {
        project != stack.project && format!("{project}-{environment}") == stack.name
    });
    owner == Some(stack.name.as_str()) && !is_twins
}

/// As [`is_of`], for EC2's tags. EC2's filter compares the stack tag only.
pub(crate) fn is_own(stack: &Stack, tags: &[aws_sdk_ec2::types::Tag]) -> bool {
    is_of(stack, tags.iter().filter_map(|tag| Some((tag.key()?, tag.value()?))))
}

/// Returns the EC2 filter for the stack tag; [`is_own`] compares the other tags.
pub(crate) fn of_stack(stack: &Stack) -> Filter {
    filter(&format!("tag:{}", STACK_TAG), &stack.name)
}

/// Returns an EC2 filter.
pub(crate) fn filter(name: &str, value: &str) -> Filter {
    Filter::builder().name(name).values(value).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(project: &str, environment: &str) -> Stack {
        let text = format!(
            "project = \"{project}\"\nenvironment = \"{environment}\"\nregion = \"us-east-1\"\n\
             [[tenant]]\nname = \"one\"\n"
        );
        stack::config::parse(&text, "stack.toml").unwrap()
    }

    #[test]
    fn two_stacks_of_one_name_are_told_apart() {
        let (one, other) = (stack("a-b", "c"), stack("a", "b-c"));
        assert_eq!(one.name, other.name);
        let tags = pairs(&one, Resource::Vpc);
        let tags = || tags.iter().map(|(key, value)| (*key, value.as_str()));
        assert!(is_of(&one, tags()) && !is_of(&other, tags()));
        // What earlier versions or people have tagged otherwise stays the stack's.
        let alone = || std::iter::once((STACK_TAG, "a-b-c"));
        assert!(is_of(&one, alone()) && is_of(&other, alone()));
        let renamed = || alone().chain([(PROJECT_TAG, "Accounting"), (ENVIRONMENT_TAG, "c")]);
        assert!(is_of(&one, renamed()) && is_of(&other, renamed()));
        assert!(!is_of(&one, [(STACK_TAG, "a-b")].into_iter()));
    }
}
