//! Databases as RDS describes them.

use aws_sdk_rds::primitives::{DateTime, DateTimeFormat};
use aws_sdk_rds::types::DbInstance;
use stack::inventory::{Claim, DatabaseInstance, Stray};
use stack::{Resource, Stack};

use crate::core::tag;
use crate::error::failed;
use crate::{Cloud, Error};

/// Returns the stack's database: it has the stack file's identifier and the stack's tag.
pub(crate) async fn find(cloud: &Cloud, stack: &Stack) -> Result<Option<DatabaseInstance>, Error> {
    let found = describe(cloud, &stack.database.identifier).await?;
    Ok(found.filter(|database| is_ours(stack, database)).as_ref().map(read))
}

/// The databases of the region that have the stack's tag or identifier.
#[derive(Debug, Default)]
pub(crate) struct Databases {
    /// The stack's database: it has both.
    pub(crate) own: Option<DatabaseInstance>,
    /// Databases that have only one of the two.
    pub(crate) strays: Vec<Stray>,
}

/// Returns the databases that have the stack's tag or its identifier.
pub(crate) async fn list(cloud: &Cloud, stack: &Stack) -> Result<Databases, Error> {
    let pages = cloud.rds.describe_db_instances().into_paginator().items().send();
    let all: Result<Vec<DbInstance>, _> = pages.collect().await;
    let mut databases = Databases::default();
    for database in all.map_err(failed("rds", "DescribeDBInstances"))? {
        let found = read(&database);
        let is_named = found.identifier == stack.database.identifier;
        let claim = match (is_ours(stack, &database), is_named) {
            (true, true) => {
                databases.own = Some(found);
                continue;
            }
            (true, false) => Claim::OtherName,
            (false, true) => Claim::NoTag,
            (false, false) => continue,
        };
        databases.strays.push(Stray {
            resource: Resource::Database,
            id: found.identifier,
            arn: Some(found.arn),
            state: Some(found.status),
            claim,
        });
    }
    Ok(databases)
}

/// Tells whether a database that is not the stack's has the stack's identifier.
pub(crate) async fn is_taken(cloud: &Cloud, stack: &Stack) -> Result<bool, Error> {
    let found = describe(cloud, &stack.database.identifier).await?;
    Ok(found.is_some_and(|database| !is_ours(stack, &database)))
}

pub(crate) async fn describe(cloud: &Cloud, identifier: &str) -> Result<Option<DbInstance>, Error> {
    let call = cloud.rds.describe_db_instances().db_instance_identifier(identifier).send();
    match call.await.map_err(failed("rds", "DescribeDBInstances")) {
        Ok(answer) => Ok(answer.db_instances.unwrap_or_default().into_iter().next()),
        Err(error) if error.is_gone() => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_ours(stack: &Stack, database: &DbInstance) -> bool {
    tag::is_of(stack, database.tag_list().iter().filter_map(|tag| Some((tag.key()?, tag.value()?))))
}

pub(crate) fn read(database: &DbInstance) -> DatabaseInstance {
    let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
    let time = |time: &DateTime| time.fmt(DateTimeFormat::DateTime).ok();
    let endpoint = database
        .endpoint()
        .and_then(|endpoint| Some((endpoint.address()?.to_owned(), u16::try_from(endpoint.port()?).ok()?)));
    // A group that the database was removed from stays listed as `removing` for a while.
    let groups = database.vpc_security_groups().iter().filter(|group| group.status() != Some("removing"));
    let groups = groups.filter_map(|group| group.vpc_security_group_id());
    let mut logs = database.enabled_cloudwatch_logs_exports().to_vec();
    logs.sort();
    DatabaseInstance {
        identifier: text(database.db_instance_identifier()),
        arn: text(database.db_instance_arn()),
        status: text(database.db_instance_status()),
        endpoint,
        engine_version: text(database.engine_version()),
        class: text(database.db_instance_class()),
        storage_gib: database.allocated_storage().and_then(|gib| u32::try_from(gib).ok()).unwrap_or(0),
        master_user: text(database.master_username()),
        deletion_protection: database.deletion_protection().unwrap_or(false),
        public: database.publicly_accessible().unwrap_or(false),
        encrypted: database.storage_encrypted().unwrap_or(false),
        groups: groups.map(str::to_owned).collect(),
        monitoring_interval: database.monitoring_interval().and_then(|s| u32::try_from(s).ok()).unwrap_or(0),
        monitoring_role: database.monitoring_role_arn().map(str::to_owned),
        logs,
        created_at: database.instance_create_time().and_then(time),
        restarts_at: database.automatic_restart_time().and_then(time),
    }
}
