//! The tags that every part carries from its first moment: the only memory that there is.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{Filter, ResourceType, TagSpecification};
use stack::spec::{REGION_TAG, RESOURCE_TAG, STACK_TAG};
use stack::{Resource, Stack};

/// The tags of one thing: keys and values.
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

/// Returns the tags of what is not a resource of the plan: `kind` goes into the resource tag.
pub(crate) fn named(stack: &Stack, kind: &str, name: String) -> Pairs {
    [
        (STACK_TAG, stack.name.clone()),
        (RESOURCE_TAG, kind.to_owned()),
        (REGION_TAG, stack.region.clone()),
        ("Name", name),
        ("Project", stack.project.clone()),
        ("Environment", stack.environment.clone()),
    ]
}

/// Returns the tags in the shape that EC2 takes at creation.
pub(crate) fn ec2(stack: &Stack, resource: Resource, kind: ResourceType) -> TagSpecification {
    ec2_with(stack, resource, kind, None)
}

/// As [`ec2`], with one more.
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

/// Returns the value of the resource tag, or nothing.
pub(crate) fn resource(tags: &[aws_sdk_ec2::types::Tag]) -> String {
    value(tags, RESOURCE_TAG).unwrap_or_default()
}

/// Returns the value of the tag of that name.
pub(crate) fn value(tags: &[aws_sdk_ec2::types::Tag], key: &str) -> Option<String> {
    tags.iter().find(|tag| tag.key() == Some(key))?.value().map(str::to_owned)
}

/// Tells whether the tags say that something belongs to the stack.
pub(crate) fn is_of<'a>(stack: &Stack, mut tags: impl Iterator<Item = (&'a str, &'a str)>) -> bool {
    tags.any(|tag| tag == (STACK_TAG, stack.name.as_str()))
}

/// Returns the filter that lets pass what belongs to the stack.
pub(crate) fn of_stack(stack: &Stack) -> Filter {
    filter(&format!("tag:{}", STACK_TAG), &stack.name)
}

/// Returns a filter of EC2's.
pub(crate) fn filter(name: &str, value: &str) -> Filter {
    Filter::builder().name(name).values(value).build()
}
