//! The log groups that RDS creates for the database. `RDSOSMetrics`, the log group of enhanced monitoring, is the account's.

use aws_sdk_cloudwatchlogs::types::LogGroup;
use futures_util::future::try_join_all;
use stack::Stack;

use crate::core::deletion_proof::{DeletionProof, Presence, wait_until_absent};
use crate::core::job::Job;
use crate::error::{absent_is_none, failed};
use crate::kind::database;
use crate::{Cloud, Error};

/// Returns the names of the log groups of the stack's database; none if another's database has its identifier.
pub(crate) async fn list(cloud: &Cloud, stack: &Stack) -> Result<Vec<String>, Error> {
    let names = list_under(cloud, &stack.log_group_prefix()).await?;
    if names.is_empty() || database::is_taken(cloud, stack).await? {
        return Ok(Vec::new());
    }
    Ok(names)
}

async fn list_under(cloud: &Cloud, prefix: &str) -> Result<Vec<String>, Error> {
    let pages = cloud.logs.describe_log_groups().log_group_name_prefix(prefix).into_paginator().items();
    let groups: Result<Vec<LogGroup>, _> = pages.send().collect().await;
    let groups = groups.map_err(failed("logs", "DescribeLogGroups"))?;
    Ok(groups.iter().filter_map(|group| group.log_group_name()).map(str::to_owned).collect())
}

/// Deletes every log group under the prefix until a look finds none: RDS may still write logs after the database is gone.
pub(crate) async fn destroy(job: &Job<'_>, prefix: &str) -> Result<DeletionProof, Error> {
    wait_until_absent(job, "logs", "DescribeLogGroups", || async {
        let names = list_under(job.cloud, prefix).await?;
        if names.is_empty() {
            return Ok(Presence::Absent("none".to_owned()));
        }
        try_join_all(names.iter().map(|name| delete(job, name))).await?;
        Ok(Presence::Present(format!("{} of them just deleted", names.len())))
    })
    .await
}

async fn delete(job: &Job<'_>, name: &str) -> Result<(), Error> {
    let call = job.cloud.logs.delete_log_group().log_group_name(name).send();
    absent_is_none(call.await.map_err(failed("logs", "DeleteLogGroup"))).map(|_| ())
}
