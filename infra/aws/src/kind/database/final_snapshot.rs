//! The final snapshot of a database.

use std::time::{SystemTime, UNIX_EPOCH};

use stack::plan::Snapshot;
use stack::receipt::{Kept, Unseen};

use crate::core::job::Job;
use crate::core::state::Proved;
use crate::core::wait::{Probe, wait_until};
use crate::error::{chain, failed};

/// Returns the name for the final snapshot; `None` if the options want no snapshot.
pub(super) fn name(job: &Job<'_>) -> Option<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    match &job.options.retention.snapshot {
        Snapshot::Skip => None,
        Snapshot::Dated => Some(format!("{}-final-{now}", job.stack.database.identifier)),
        Snapshot::Named(name) => Some(name.clone()),
    }
}

/// Waits until the final snapshot of a deleted database is `available`: only then it has the data.
pub(super) async fn wait_until_kept(job: &Job<'_>, name: &str, proved: &mut Proved) {
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
                why: chain(&error),
            });
        }
    }
}
