//! Security groups as EC2 describes them.

use aws_sdk_ec2::types::{Filter, SecurityGroup as Answer};
use stack::Stack;
use stack::inventory::{Direction, Inventory, Rule, SecurityGroup};

use super::rule;
use crate::core::tag;
use crate::error::failed;
use crate::{Cloud, Error};

/// Returns the security groups with the stack's tag.
pub(crate) async fn list(cloud: &Cloud, stack: &Stack) -> Result<Vec<SecurityGroup>, Error> {
    let groups = filtered(cloud, tag::of_stack(stack)).await?;
    Ok(groups.iter().filter(|group| tag::is_own(stack, group.tags())).map(read).collect())
}

/// Returns the groups of others that the stack's database or bastion is in, as far as they exist.
pub(crate) async fn attached(cloud: &Cloud, inventory: &Inventory) -> Result<Vec<SecurityGroup>, Error> {
    let of_database = inventory.database.iter().flat_map(|database| &database.groups);
    let all = of_database.chain(inventory.instances.iter().flat_map(|instance| &instance.groups));
    let others = all.filter(|id| !inventory.groups.iter().any(|group| group.id == **id));
    let mut ids: Vec<String> = others.cloned().collect();
    ids.sort();
    ids.dedup();
    let found = with_ids(cloud, ids).await?;
    // The resource tag of such a group means nothing for this stack.
    Ok(found.iter().map(read).map(|group| SecurityGroup { resource: String::new(), ..group }).collect())
}

pub(super) async fn with_ids(cloud: &Cloud, ids: Vec<String>) -> Result<Vec<Answer>, Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    // A filter, not ids: one id that does not exist would fail the whole call.
    let filter = Filter::builder().name("group-id").set_values(Some(ids)).build();
    filtered(cloud, filter).await
}

/// Returns the rules of these groups, whoever owns them.
pub(crate) async fn rules_of(cloud: &Cloud, ids: &[String]) -> Result<Vec<Rule>, Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let call = cloud.ec2.describe_security_groups().set_group_ids(Some(ids.to_vec())).send();
    let answer = call.await.map_err(failed("ec2", "DescribeSecurityGroups"))?;
    Ok(answer.security_groups().iter().flat_map(|group| read(group).rules).collect())
}

/// Returns the security groups that match the filter.
pub(crate) async fn filtered(cloud: &Cloud, filter: Filter) -> Result<Vec<Answer>, Error> {
    let pages = cloud.ec2.describe_security_groups().filters(filter).into_paginator().items().send();
    let groups: Result<Vec<Answer>, _> = pages.collect().await;
    groups.map_err(failed("ec2", "DescribeSecurityGroups"))
}

pub(crate) fn read(group: &Answer) -> SecurityGroup {
    let ingress = group.ip_permissions().iter().flat_map(|p| rule::parse(Direction::Ingress, p));
    let egress = group.ip_permissions_egress().iter().flat_map(|p| rule::parse(Direction::Egress, p));
    SecurityGroup {
        id: group.group_id().unwrap_or_default().to_owned(),
        vpc: group.vpc_id().unwrap_or_default().to_owned(),
        name: group.group_name().unwrap_or_default().to_owned(),
        resource: tag::resource(group.tags()),
        rules: ingress.chain(egress).collect(),
    }
}
