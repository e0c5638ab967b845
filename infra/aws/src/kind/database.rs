//! The RDS instance: creates, starts and changes it.

mod availability;
mod describe;
mod destroy;
mod final_snapshot;
mod modify;

use aws_sdk_rds::types::{CloudwatchLogsExportConfiguration, Tag};
use stack::inventory::{DatabaseInstance, Inventory};
use stack::{Resource, Stack};

use self::availability::{AVAILABLE_WITHIN, get, is_serving, start, wait_until_available, wait_until_gone};
pub(crate) use self::describe::{Databases, describe, find, is_taken, list, read};
pub(crate) use self::destroy::destroy;
pub(crate) use self::modify::set_password;
use self::modify::{is_role_unknown_yet, modify};
use crate::Error;
use crate::core::job::{Job, group_of, missing};
use crate::core::retry::{VISIBLE_WITHIN, retry_while};
use crate::core::state::State;
use crate::core::tag;
use crate::core::wait::{Probe, wait_until};
use crate::error::failed;
use crate::kind::secret;

/// Creates, starts or changes the database as needed, and waits until it is available.
pub(crate) async fn ensure(job: &Job<'_>, state: &State) -> Result<DatabaseInstance, Error> {
    let identifier = &job.stack.database.identifier;
    let database = match &state.inventory.database {
        Some(database) if database.status == "deleting" => {
            wait_until_gone(job, identifier).await?;
            create(job, state).await?
        }
        Some(database) => database.clone(),
        None => create(job, state).await?,
    };
    let database = if matches!(database.status.as_str(), "stopped" | "stopping") {
        start(job, identifier).await?
    } else {
        database
    };
    let database =
        if is_serving(&database) { database } else { wait_until_available(job, identifier).await? };
    repair(job, &state.inventory, database).await
}

async fn create(job: &Job<'_>, state: &State) -> Result<DatabaseInstance, Error> {
    let want = &job.stack.database;
    let password = match &state.master_password {
        Some(password) => password.clone(),
        None => secret::get(job.cloud, job.stack, &job.stack.master_secret_name()).await?,
    };
    let tags = tag::pairs(job.stack, Resource::Database);
    let tags = tags.map(|(key, value)| Tag::builder().key(key).value(value).build()).to_vec();
    let group = group_of(&state.inventory, Resource::DatabaseGroup)?;
    // Gigabytes, days and seconds fit into AWS's `i32`.
    let number = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    let call = || async {
        job.cloud
            .rds
            .create_db_instance()
            .db_instance_identifier(&want.identifier)
            .engine("postgres")
            .engine_version(&want.engine_version)
            .db_instance_class(&want.class)
            .allocated_storage(number(want.storage_gib))
            .storage_type("gp3")
            .storage_encrypted(true)
            .publicly_accessible(false)
            .port(i32::from(want.port))
            .db_subnet_group_name(job.stack.subnet_group_name())
            .vpc_security_group_ids(group)
            .backup_retention_period(number(want.backup_days))
            .multi_az(want.multi_az)
            .deletion_protection(want.deletion_protection)
            .copy_tags_to_snapshot(true)
            .auto_minor_version_upgrade(true)
            .master_username(&want.master_user)
            .master_user_password(password.expose())
            .monitoring_interval(number(want.monitoring_interval))
            .set_monitoring_role_arn(monitoring_role(job.stack, &state.inventory)?)
            .set_enable_cloudwatch_logs_exports((!want.logs.is_empty()).then(|| want.logs.clone()))
            .set_tags(Some(tags.clone()))
            .send()
            .await
            .map_err(failed("rds", "CreateDBInstance"))
    };
    match retry_while(job.stop, VISIBLE_WITHIN, is_unknown_yet, call).await {
        Ok(answer) => answer.db_instance.as_ref().map(read).ok_or(Error::Incomplete {
            service: "rds",
            operation: "CreateDBInstance",
            field: "instance",
        }),
        // A lost reply, or somebody else's database: identifiers are unique in a region.
        Err(error) if error.is_duplicate() => {
            let name = want.identifier.clone();
            find(job.cloud, job.stack).await?.ok_or(Error::Foreign { what: "database", name })
        }
        Err(error) => Err(error),
    }
}

/// RDS may know a new group, subnet group or role only a moment later.
fn is_unknown_yet(error: &Error) -> bool {
    error.is_gone() || error.code() == Some("InvalidVPCNetworkStateFault") || is_role_unknown_yet(error)
}

/// Returns the ARN of the role of enhanced monitoring, if the stack uses that.
fn monitoring_role(stack: &Stack, inventory: &Inventory) -> Result<Option<String>, Error> {
    if stack.database.monitoring_interval == 0 {
        return Ok(None);
    }
    let role = inventory.monitoring_role.as_ref().ok_or_else(|| missing(Resource::MonitoringRole))?;
    Ok(Some(role.arn.clone()))
}

/// Repairs groups, deletion protection, logs and monitoring in place.
async fn repair(
    job: &Job<'_>,
    inventory: &Inventory,
    database: DatabaseInstance,
) -> Result<DatabaseInstance, Error> {
    let group = group_of(inventory, Resource::DatabaseGroup)?;
    let want = &job.stack.database;
    let role = monitoring_role(job.stack, inventory)?;
    let is_monitored = |have: &DatabaseInstance| {
        have.monitoring_interval == want.monitoring_interval
            && (role.is_none() || have.monitoring_role == role)
    };
    // Somebody else's group stays, unless the plan removes the database from it.
    let is_closed = |other: &String| {
        let mut closes = job.closes.iter();
        closes.any(|one| one.group_of(Resource::Database, &database.identifier) == Some(other))
    };
    let is_grouped = |have: &DatabaseInstance| {
        have.groups.iter().any(|one| one == group) && !have.groups.iter().any(is_closed)
    };
    let is_right = |have: &DatabaseInstance| {
        is_grouped(have)
            && have.deletion_protection == want.deletion_protection
            && have.logs == want.logs
            && is_monitored(have)
    };
    if is_right(&database) {
        return Ok(database);
    }
    let mut call = job
        .cloud
        .rds
        .modify_db_instance()
        .db_instance_identifier(&database.identifier)
        .apply_immediately(true)
        .deletion_protection(want.deletion_protection);
    if !is_grouped(&database) {
        // RDS replaces the whole list, so it is read again: a group that was added meanwhile stays.
        let now = read(&get(job, &database.identifier).await?).groups;
        let others = now.into_iter().filter(|other| other != group && !is_closed(other));
        let groups = std::iter::once(group.to_owned()).chain(others).collect();
        call = call.set_vpc_security_group_ids(Some(groups));
    }
    if !is_monitored(&database) {
        let interval = i32::try_from(want.monitoring_interval).unwrap_or(i32::MAX);
        call = call.monitoring_interval(interval).set_monitoring_role_arn(role.clone());
    }
    if database.logs != want.logs {
        call = call.cloudwatch_logs_export_configuration(exports(&database.logs, &want.logs));
    }
    modify(job, call).await?;
    wait_until(job, AVAILABLE_WITHIN, || async {
        let found = get(job, &database.identifier).await?;
        let now = read(&found);
        let is_done = is_serving(&now) && is_right(&now);
        Ok(if is_done { Probe::Ready(now) } else { Probe::Pending(now.status) })
    })
    .await
}

/// Returns the change from the exported logs `have` to `want`.
fn exports(have: &[String], want: &[String]) -> CloudwatchLogsExportConfiguration {
    let without = |some: &[String], others: &[String]| -> Option<Vec<String>> {
        let rest: Vec<String> = some.iter().filter(|one| !others.contains(one)).cloned().collect();
        (!rest.is_empty()).then_some(rest)
    };
    CloudwatchLogsExportConfiguration::builder()
        .set_enable_log_types(without(want, have))
        .set_disable_log_types(without(have, want))
        .build()
}
