//! What a database leaves behind, and other databases in its place.

use aws_sdk_rds::types::DbInstance;
use stack::receipt::{Blocker, Kept, Unseen};

use crate::core::blocker::Held;
use crate::core::state::Proved;
use crate::core::wait::{Probe, wait_until};
use crate::error::failed;
use crate::step::Job;
use crate::{Cloud, Error, apply};

/// Looks for the final snapshot of a database that is gone: only one that is `available` keeps its data.
pub(super) async fn snapshot(job: &Job<'_>, name: &str, proved: &mut Proved) {
    let found = wait_until(job, job.options.settle_within, || async {
        let call = job.cloud.rds.describe_db_snapshots().db_snapshot_identifier(name).send();
        let answer = call.await.map_err(failed("rds", "DescribeDBSnapshots"))?;
        let status = answer.db_snapshots().first().and_then(|snapshot| snapshot.status());
        Ok(match status {
            Some("available") => Probe::Ready(()),
            Some(status) => Probe::Pending(status.to_owned()),
            None => Probe::Pending("not listed".to_owned()),
        })
    });
    match found.await {
        Ok(()) => {
            proved.kept = Some(Kept {
                kind: "snapshot".to_owned(),
                id: name.to_owned(),
                why: "the final snapshot, available".to_owned(),
                command: format!(
                    "aws rds delete-db-snapshot --db-snapshot-identifier {name} --region {}",
                    job.cloud.region
                ),
            });
        }
        Err(error) => {
            proved.unseen = Some(Unseen {
                what: format!("final snapshot `{name}`"),
                call: "rds:DescribeDBSnapshots".to_owned(),
                why: apply::chain(&error),
            });
        }
    }
}

/// Returns the databases that use a subnet group.
pub(crate) async fn blockers(cloud: &Cloud, group: &str) -> Result<Vec<Held>, Error> {
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
        Held { blocker, goes_by_itself: status == "deleting" }
    });
    Ok(held.collect())
}
