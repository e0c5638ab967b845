//! Changes an existing database.

use aws_sdk_rds::operation::modify_db_instance::builders::ModifyDBInstanceFluentBuilder;
use stack::Secret;

use super::availability::{AVAILABLE_WITHIN, get, start, wait_until_available};
use crate::Error;
use crate::core::job::Job;
use crate::core::retry::retry_while;
use crate::core::wait::{Probe, wait_until};
use crate::error::failed;

/// Sets the master user's password, and waits until RDS has done so. Starts a stopped database: the database's own step
/// waits for this secret.
pub(crate) async fn set_password(job: &Job<'_>, identifier: &str, password: &Secret) -> Result<(), Error> {
    if matches!(get(job, identifier).await?.db_instance_status(), Some("stopped" | "stopping")) {
        start(job, identifier).await?;
    } else {
        wait_until_available(job, identifier).await?;
    }
    let call = job.cloud.rds.modify_db_instance().db_instance_identifier(identifier);
    modify(job, call.apply_immediately(true).master_user_password(password.expose())).await?;
    wait_until(job, AVAILABLE_WITHIN, || async {
        let database = get(job, identifier).await?;
        let pending = database.pending_modified_values().and_then(|values| values.master_user_password());
        let status = database.db_instance_status().unwrap_or_default();
        let is_done = status == "available" && pending.is_none();
        Ok(if is_done { Probe::Ready(()) } else { Probe::Pending(status.to_owned()) })
    })
    .await
}

pub(super) async fn unprotect(job: &Job<'_>, identifier: &str) -> Result<(), Error> {
    let call = job.cloud.rds.modify_db_instance().db_instance_identifier(identifier);
    modify(job, call.apply_immediately(true).deletion_protection(false)).await?;
    wait_until(job, job.options.settle_within, || async {
        let database = get(job, identifier).await?;
        let is_done = database.deletion_protection() != Some(true);
        Ok(if is_done { Probe::Ready(()) } else { Probe::Pending("still protected".to_owned()) })
    })
    .await
}

pub(super) async fn modify(job: &Job<'_>, call: ModifyDBInstanceFluentBuilder) -> Result<(), Error> {
    let send = || {
        let call = call.clone().send();
        async { call.await.map_err(failed("rds", "ModifyDBInstance")) }
    };
    // RDS refuses while an earlier change runs, or while it does not know a new role yet.
    let not_yet = |error: &Error| error.is_conflict() || is_role_unknown_yet(error);
    retry_while(job.stop, job.options.settle_within, not_yet, send).await.map(|_| ())
}

/// RDS uses the code `InvalidParameterValue` for many errors, so the message decides.
pub(super) fn is_role_unknown_yet(error: &Error) -> bool {
    matches!(error, Error::Service { code, message, .. }
        if code == "InvalidParameterValue" && message.contains("ENHANCED_MONITORING"))
}
