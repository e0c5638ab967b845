//! The database subnet group.

use aws_sdk_rds::types::{DbSubnetGroup, Tag};
use stack::inventory::{Inventory, SubnetGroup};
use stack::{Resource, Stack};

use crate::blocker::Blocked;
use crate::error::failed;
use crate::poll::{VISIBLE_WITHIN, retry_while};
use crate::proof::{Proof, Seen, absent};
use crate::step::{Job, subnet_of, vpc_of};
use crate::{Cloud, Error, blocker, database, tag};

/// Returns the stack's subnet group; one of that name without the stack's tag is not the stack's.
pub(crate) async fn find(cloud: &Cloud, stack: &Stack) -> Result<Option<SubnetGroup>, Error> {
    let Some(group) = describe(cloud, &stack.subnet_group_name()).await? else {
        return Ok(None);
    };
    // Without them it was deleted in between.
    let Some(tags) = tags(cloud, &group).await? else { return Ok(None) };
    let is_ours = tag::is_of(stack, tags.iter().filter_map(|tag| Some((tag.key()?, tag.value()?))));
    Ok(is_ours.then(|| read(&group)))
}

/// Returns the group's tags; `None` if there is no such group any more.
pub(crate) async fn tags(cloud: &Cloud, group: &DbSubnetGroup) -> Result<Option<Vec<Tag>>, Error> {
    let arn = group.db_subnet_group_arn().unwrap_or_default();
    let call = cloud.rds.list_tags_for_resource().resource_name(arn);
    match call.send().await.map_err(failed("rds", "ListTagsForResource")) {
        Ok(answer) => Ok(Some(answer.tag_list.unwrap_or_default())),
        Err(error) if error.is_gone() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the subnet group of that name, whosever it is.
pub(crate) async fn describe(cloud: &Cloud, name: &str) -> Result<Option<DbSubnetGroup>, Error> {
    let call = cloud.rds.describe_db_subnet_groups().db_subnet_group_name(name);
    match call.send().await.map_err(failed("rds", "DescribeDBSubnetGroups")) {
        Ok(answer) => Ok(answer.db_subnet_groups.unwrap_or_default().into_iter().next()),
        Err(error) if error.is_gone() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the subnet group over both private subnets, creating or changing it.
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
                found.ok_or(Error::Foreign { what: "database subnet group", name })?
            }
            Err(error) => return Err(error),
        },
    };
    if want.subnets.iter().all(|subnet| have.subnets.contains(subnet)) {
        return Ok(have);
    }
    if have.vpc != want.vpc {
        // It cannot move to another VPC, and in an earlier life it was in one that is gone.
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

/// RDS may learn of a new subnet a moment later than EC2.
fn is_unknown_subnet(error: &Error) -> bool {
    matches!(error.code(), Some("InvalidSubnet" | "InvalidSubnetID.NotFound"))
}

/// Deletes the subnet group once no database uses it, and waits until it is gone.
///
/// # Errors
/// [`Error::Blocked`] names the databases that use it.
pub(crate) async fn destroy(job: &Job<'_>, name: &str) -> Result<Proof, Error> {
    let call = || async {
        let call = job.cloud.rds.delete_db_subnet_group().db_subnet_group_name(name).send();
        call.await.map_err(failed("rds", "DeleteDBSubnetGroup"))
    };
    let holds = || async { database::blockers(job.cloud, name).await };
    blocker::delete(job, Blocked::by_id(job, name), call, holds).await?;
    absent(job, "rds", "DescribeDBSubnetGroups", || async {
        let call = job.cloud.rds.describe_db_subnet_groups().db_subnet_group_name(name).send();
        let answer = call.await.map_err(failed("rds", "DescribeDBSubnetGroups"))?;
        Ok(Seen::any(answer.db_subnet_groups()))
    })
    .await
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
