//! Waits until a database is available, or no longer exists.

use std::time::Duration;

use aws_sdk_rds::types::DbInstance;
use stack::inventory::DatabaseInstance;

use super::describe::{describe, read};
use crate::Error;
use crate::core::deletion_proof::{DeletionProof, deletion_proof};
use crate::core::job::Job;
use crate::core::wait::{Probe, wait_until};
use crate::error::failed;

/// AWS's documentation says 15 minutes at most; a standby or a restore may take twice that.
pub(super) const AVAILABLE_WITHIN: Duration = Duration::from_secs(45 * 60);
/// A final snapshot of a large database takes its time.
const GONE_WITHIN: Duration = Duration::from_secs(60 * 60);

pub(super) async fn start(job: &Job<'_>, identifier: &str) -> Result<DatabaseInstance, Error> {
    wait_until(job, AVAILABLE_WITHIN, || async {
        let database = get(job, identifier).await?;
        let status = database.db_instance_status().unwrap_or_default();
        Ok(if status == "stopping" { Probe::Pending(status.to_owned()) } else { Probe::Ready(()) })
    })
    .await?;
    let call = job.cloud.rds.start_db_instance().db_instance_identifier(identifier).send();
    match call.await.map_err(failed("rds", "StartDBInstance")) {
        // A lost reply: the database is starting already.
        Err(error) if !error.is_conflict() => return Err(error),
        Ok(_) | Err(_) => (),
    }
    wait_until_available(job, identifier).await
}

pub(super) async fn wait_until_available(job: &Job<'_>, identifier: &str) -> Result<DatabaseInstance, Error> {
    wait_until(job, AVAILABLE_WITHIN, || async {
        let database = read(&get(job, identifier).await?);
        if is_broken(&database.status) {
            let subject = format!("database `{identifier}`");
            return Err(Error::Failed { subject, status: database.status });
        }
        Ok(if is_serving(&database) { Probe::Ready(database) } else { Probe::Pending(database.status) })
    })
    .await
}

pub(super) async fn wait_until_gone(job: &Job<'_>, identifier: &str) -> Result<DeletionProof, Error> {
    wait_until(job, GONE_WITHIN, || async {
        Ok(match describe(job.cloud, identifier).await? {
            Some(database) => Probe::Pending(database.db_instance_status().unwrap_or_default().to_owned()),
            None => Probe::Ready(deletion_proof("rds", "DescribeDBInstances", "DBInstanceNotFound")),
        })
    })
    .await
}

pub(super) async fn get(job: &Job<'_>, identifier: &str) -> Result<DbInstance, Error> {
    let found = describe(job.cloud, identifier).await?;
    found.ok_or_else(|| Error::Missing { what: format!("database `{identifier}`") })
}

pub(super) fn is_serving(database: &DatabaseInstance) -> bool {
    matches!(database.status.as_str(), "available" | "backing-up" | "storage-optimization")
        && database.endpoint.is_some()
}

/// Tells whether the database stays in this status until somebody acts.
fn is_broken(status: &str) -> bool {
    matches!(status, "failed" | "storage-full" | "restore-error" | "insufficient-capacity" | "deleting")
        || status.starts_with("incompatible-")
        || status.starts_with("inaccessible-encryption-credentials")
}
