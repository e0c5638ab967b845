//! Deletes the database, with a final snapshot if the options want one.

use stack::inventory::Inventory;

use super::availability::{AVAILABLE_WITHIN, wait_until_gone};
use super::describe::describe;
use super::final_snapshot;
use super::modify::unprotect;
use crate::Error;
use crate::core::deletion_proof::DeletionProof;
use crate::core::job::Job;
use crate::core::retry::retry_while;
use crate::core::state::Proved;
use crate::error::failed;

/// Deletes the database, and waits until it no longer exists.
///
/// # Errors
/// [`Error::Protected`] if it has deletion protection and the options do not turn that off.
pub(crate) async fn destroy(
    job: &Job<'_>,
    identifier: &str,
    inventory: &Inventory,
    proved: &mut Proved,
) -> Result<DeletionProof, Error> {
    let database = inventory.database.as_ref().filter(|database| database.status != "deleting");
    let Some(database) = database else {
        return wait_until_gone(job, identifier).await;
    };
    if database.deletion_protection {
        if !job.options.unprotect {
            return Err(Error::Protected { identifier: identifier.to_owned() });
        }
        unprotect(job, identifier).await?;
    }
    // One name for all tries: a lost reply must not leave two snapshots.
    let snapshot = final_snapshot::name(job);
    let call = || async {
        let call = job
            .cloud
            .rds
            .delete_db_instance()
            .db_instance_identifier(identifier)
            .skip_final_snapshot(snapshot.is_none())
            .set_final_db_snapshot_identifier(snapshot.clone())
            .delete_automated_backups(true);
        match call.send().await.map_err(failed("rds", "DeleteDBInstance")) {
            Ok(_) => Ok(()),
            Err(error) if error.is_gone() => Ok(()),
            // A lost reply: it is being deleted already. Or another change is running.
            Err(error) if error.is_conflict() || error.is_duplicate() => {
                match describe(job.cloud, identifier).await? {
                    Some(database) if database.db_instance_status() != Some("deleting") => Err(error),
                    Some(_) | None => Ok(()),
                }
            }
            Err(error) => Err(error),
        }
    };
    retry_while(job.stop, AVAILABLE_WITHIN, Error::is_conflict, call).await?;
    let proof = wait_until_gone(job, identifier).await?;
    job.release_dependents();
    if let Some(snapshot) = snapshot {
        final_snapshot::wait_until_kept(job, &snapshot, proved).await;
    }
    Ok(proof)
}
