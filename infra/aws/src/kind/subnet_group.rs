//! The database subnet group.

use aws_sdk_rds::types::{DbInstance, DbSubnetGroup, Tag};
use stack::inventory::{Claim, Inventory, Stray, SubnetGroup};
use stack::receipt::Blocker;
use stack::{Resource, Stack};

use crate::core::blocker::{Blocked, FoundBlocker};
use crate::core::deletion_proof::{DeletionProof, Presence, wait_until_absent};
use crate::core::job::{Job, subnet_of, vpc_of};
use crate::core::ownership::Sighted;
use crate::core::retry::{VISIBLE_WITHIN, ask_each, retry_while};
use crate::core::{blocker, tag};
use crate::error::failed;
use crate::{Cloud, Error};

/// Returns the subnet group that has the stack file's name, and whose it is.
pub(crate) async fn find(cloud: &Cloud, stack: &Stack) -> Result<Sighted<SubnetGroup>, Error> {
    let Some(group) = describe(cloud, &stack.subnet_group_name()).await? else {
        return Ok(Sighted::Absent);
    };
    // No tags: the group was deleted in between.
    let Some(tags) = tags(cloud, &group).await? else { return Ok(Sighted::Absent) };
    let found = read(&group);
    Ok(if is_ours(stack, &tags) { Sighted::Ours(found) } else { Sighted::Stray(stray(found, Claim::NoTag)) })
}

/// Returns the subnet groups with the stack's tag, whatever their names.
pub(crate) async fn list(cloud: &Cloud, stack: &Stack) -> Result<Vec<SubnetGroup>, Error> {
    let pages = cloud.rds.describe_db_subnet_groups().into_paginator().items().send();
    let groups: Result<Vec<DbSubnetGroup>, _> = pages.collect().await;
    let groups = groups.map_err(failed("rds", "DescribeDBSubnetGroups"))?;
    let asked = ask_each(groups, |group: DbSubnetGroup| async move {
        let tags = tags(cloud, &group).await?;
        Ok(tags.is_some_and(|tags| is_ours(stack, &tags)).then(|| read(&group)))
    });
    Ok(asked.await?.into_iter().flatten().collect())
}

fn is_ours(stack: &Stack, tags: &[Tag]) -> bool {
    tag::is_of(stack, tags.iter().filter_map(|tag| Some((tag.key()?, tag.value()?))))
}

/// Returns the group as a stray: it is not part of the stack.
pub(crate) fn stray(group: SubnetGroup, claim: Claim) -> Stray {
    let SubnetGroup { name, arn, status, .. } = group;
    Stray { resource: Resource::SubnetGroup, id: name, arn, state: status, claim }
}

/// Returns the group's tags; `None` if the group no longer exists.
pub(crate) async fn tags(cloud: &Cloud, group: &DbSubnetGroup) -> Result<Option<Vec<Tag>>, Error> {
    let arn = group.db_subnet_group_arn().unwrap_or_default();
    let call = cloud.rds.list_tags_for_resource().resource_name(arn);
    match call.send().await.map_err(failed("rds", "ListTagsForResource")) {
        Ok(answer) => Ok(Some(answer.tag_list.unwrap_or_default())),
        Err(error) if error.is_gone() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the subnet group of that name, even if it is not the stack's.
pub(crate) async fn describe(cloud: &Cloud, name: &str) -> Result<Option<DbSubnetGroup>, Error> {
    let call = cloud.rds.describe_db_subnet_groups().db_subnet_group_name(name);
    match call.send().await.map_err(failed("rds", "DescribeDBSubnetGroups")) {
        Ok(answer) => Ok(answer.db_subnet_groups.unwrap_or_default().into_iter().next()),
        Err(error) if error.is_gone() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Creates or changes the subnet group, so that it has both private subnets.
pub(crate) async fn ensure(job: &Job<'_>, inventory: &Inventory) -> Result<SubnetGroup, Error> {
    let subnets = [
        subnet_of(inventory, Resource::PrivateSubnetA)?.to_owned(),
        subnet_of(inventory, Resource::PrivateSubnetB)?.to_owned(),
    ];
    let want = SubnetGroup {
        name: job.stack.subnet_group_name(),
        vpc: vpc_of(inventory)?.to_owned(),
        subnets: subnets.to_vec(),
        arn: None,
        status: None,
    };
    let have = match &inventory.subnet_group {
        Some(group) => group.clone(),
        None => match create(job, &want).await {
            Ok(()) => return Ok(want),
            Err(error) if error.is_duplicate() => {
                let name = want.name.clone();
                let found = find(job.cloud, job.stack).await?;
                found.ours().ok_or(Error::Foreign { what: "database subnet group", name })?
            }
            Err(error) => return Err(error),
        },
    };
    if want.subnets.iter().all(|subnet| have.subnets.contains(subnet)) {
        return Ok(have);
    }
    if have.vpc != want.vpc {
        // RDS cannot move a subnet group to another VPC, and its old VPC no longer exists.
        destroy(job, &have.name).await?;
        create(job, &want).await?;
        return Ok(want);
    }
    retry_while(job.stop, VISIBLE_WITHIN, is_unknown_subnet, || async {
        let call = job.cloud.rds.modify_db_subnet_group().db_subnet_group_name(&want.name);
        let call = call.set_subnet_ids(Some(want.subnets.clone())).send();
        call.await.map_err(failed("rds", "ModifyDBSubnetGroup"))
    })
    .await?;
    Ok(want)
}

async fn create(job: &Job<'_>, want: &SubnetGroup) -> Result<(), Error> {
    let tags = tag::pairs(job.stack, Resource::SubnetGroup);
    let tags = tags.map(|(key, value)| Tag::builder().key(key).value(value).build()).to_vec();
    retry_while(job.stop, VISIBLE_WITHIN, is_unknown_subnet, || async {
        job.cloud
            .rds
            .create_db_subnet_group()
            .db_subnet_group_name(&want.name)
            .db_subnet_group_description(format!("private subnets of drawbridge stack {}", job.stack.name))
            .set_subnet_ids(Some(want.subnets.clone()))
            .set_tags(Some(tags.clone()))
            .send()
            .await
            .map_err(failed("rds", "CreateDBSubnetGroup"))
    })
    .await
    .map(|_| ())
}

/// RDS may know a new subnet a moment later than EC2.
fn is_unknown_subnet(error: &Error) -> bool {
    matches!(error.code(), Some("InvalidSubnet" | "InvalidSubnetID.NotFound"))
}

/// Deletes the subnet group once no database uses it, and waits until it no longer exists.
///
/// # Errors
/// [`Error::Blocked`] names the databases that use it.
pub(crate) async fn destroy(job: &Job<'_>, name: &str) -> Result<DeletionProof, Error> {
    let call = || async {
        let call = job.cloud.rds.delete_db_subnet_group().db_subnet_group_name(name).send();
        call.await.map_err(failed("rds", "DeleteDBSubnetGroup"))
    };
    let holds = || async { blockers(job.cloud, name).await };
    blocker::delete(job, Blocked::by_id(job, name), call, holds).await?;
    wait_until_absent(job, "rds", "DescribeDBSubnetGroups", || async {
        let call = job.cloud.rds.describe_db_subnet_groups().db_subnet_group_name(name).send();
        let answer = call.await.map_err(failed("rds", "DescribeDBSubnetGroups"))?;
        Ok(Presence::of_list(answer.db_subnet_groups()))
    })
    .await
}

/// Returns the databases that use a subnet group.
async fn blockers(cloud: &Cloud, group: &str) -> Result<Vec<FoundBlocker>, Error> {
    let pages = cloud.rds.describe_db_instances().into_paginator().items().send();
    let databases: Result<Vec<DbInstance>, _> = pages.collect().await;
    let databases = databases.map_err(failed("rds", "DescribeDBInstances"))?;
    let users = databases.iter().filter(|database| {
        database.db_subnet_group().and_then(|group| group.db_subnet_group_name()) == Some(group)
    });
    let held = users.map(|database| {
        let id = database.db_instance_identifier().unwrap_or("?");
        let status = database.db_instance_status().unwrap_or("unknown");
        let blocker = Blocker {
            kind: "database".to_owned(),
            id: id.to_owned(),
            owner: None,
            detail: format!("({status}) uses it"),
            command: format!(
                "aws rds delete-db-instance --db-instance-identifier {id} --final-db-snapshot-identifier {id}-final \
                 --region {}",
                cloud.region
            ),
        };
        FoundBlocker { blocker, is_transient: status == "deleting" }
    });
    Ok(held.collect())
}

pub(crate) fn read(group: &DbSubnetGroup) -> SubnetGroup {
    let subnets = group.subnets().iter().filter_map(|subnet| subnet.subnet_identifier());
    SubnetGroup {
        name: group.db_subnet_group_name().unwrap_or_default().to_owned(),
        vpc: group.vpc_id().unwrap_or_default().to_owned(),
        subnets: subnets.map(str::to_owned).collect(),
        arn: group.db_subnet_group_arn().map(str::to_owned),
        status: group.subnet_group_status().map(str::to_owned),
    }
}
