//! The RDS instance.

mod remains;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_rds::primitives::{DateTime, DateTimeFormat};
use aws_sdk_rds::types::{CloudwatchLogsExportConfiguration, DbInstance, Tag};
use stack::inventory::{Claim, DatabaseInstance, Inventory, Stray};
use stack::plan::Snapshot;
use stack::{Resource, Secret, Stack};

pub(crate) use self::remains::blockers;
use crate::core::deletion_proof::{Proof, proof};
use crate::core::state::{Proved, State};
use crate::core::tag;
use crate::core::wait::{Probe, VISIBLE_WITHIN, retry_while, wait_until};
use crate::error::failed;
use crate::kind::secret;
use crate::step::{Job, group_of, missing};
use crate::{Cloud, Error};

/// AWS's documents say 15 minutes at most; a standby or a restore may take twice that.
const AVAILABLE_WITHIN: Duration = Duration::from_secs(45 * 60);
/// A final snapshot of a large database takes its time.
const GONE_WITHIN: Duration = Duration::from_secs(60 * 60);

/// Returns the stack's database; one of that name without the stack's tag is not the stack's.
pub(crate) async fn find(cloud: &Cloud, stack: &Stack) -> Result<Option<DatabaseInstance>, Error> {
    let found = describe(cloud, &stack.database.identifier).await?;
    Ok(found.filter(|database| is_ours(stack, database)).as_ref().map(read))
}

/// The databases of the region that have to do with the stack.
#[derive(Debug, Default)]
pub(crate) struct Databases {
    /// The stack's: its tag and the stack file's identifier.
    pub(crate) own: Option<DatabaseInstance>,
    /// Those with its tag under another identifier, and one without it under the stack file's.
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

/// Returns the database once it is available: created, started or changed where that was needed.
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
    // The rest is small by its types: gigabytes and days fit into AWS's numbers.
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
        // A lost reply, or someone else's: no two in a region have the same identifier.
        Err(error) if error.is_duplicate() => {
            let name = want.identifier.clone();
            find(job.cloud, job.stack).await?.ok_or(Error::Foreign { what: "database", name })
        }
        Err(error) => Err(error),
    }
}

/// RDS may learn of a new group, subnet group or role a moment later.
fn is_unknown_yet(error: &Error) -> bool {
    error.is_gone() || error.code() == Some("InvalidVPCNetworkStateFault") || is_role_unknown_yet(error)
}

/// `InvalidParameterValue` is RDS's word for many things; here it names what the role is for.
fn is_role_unknown_yet(error: &Error) -> bool {
    matches!(error, Error::Service { code, message, .. }
        if code == "InvalidParameterValue" && message.contains("ENHANCED_MONITORING"))
}

/// Returns the ARN of the role of enhanced monitoring, if the stack has that.
fn monitoring_role(stack: &Stack, inventory: &Inventory) -> Result<Option<String>, Error> {
    if stack.database.monitoring_interval == 0 {
        return Ok(None);
    }
    let role = inventory.monitoring_role.as_ref().ok_or_else(|| missing(Resource::MonitoringRole))?;
    Ok(Some(role.arn.clone()))
}

async fn start(job: &Job<'_>, identifier: &str) -> Result<DatabaseInstance, Error> {
    wait_until(job, AVAILABLE_WITHIN, || async {
        let database = get(job, identifier).await?;
        let status = database.db_instance_status().unwrap_or_default();
        Ok(if status == "stopping" { Probe::Pending(status.to_owned()) } else { Probe::Ready(()) })
    })
    .await?;
    let call = job.cloud.rds.start_db_instance().db_instance_identifier(identifier).send();
    match call.await.map_err(failed("rds", "StartDBInstance")) {
        // A lost reply: it is starting.
        Err(error) if !error.is_conflict() => return Err(error),
        Ok(_) | Err(_) => (),
    }
    wait_until_available(job, identifier).await
}

/// Changes in place what can be changed without a surprise.
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
    // A group of somebody else's stays, unless the plan takes the database out of it.
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
        // RDS takes the whole list, so it is asked for once more: whoever was let in meanwhile stays.
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

/// Returns what turns these logs into those.
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

/// Gives the master user that password and waits until it holds. A database that is stopped is started: its own step
/// waits for the secret.
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

async fn modify(
    job: &Job<'_>,
    call: aws_sdk_rds::operation::modify_db_instance::builders::ModifyDBInstanceFluentBuilder,
) -> Result<(), Error> {
    let send = || {
        let call = call.clone().send();
        async { call.await.map_err(failed("rds", "ModifyDBInstance")) }
    };
    // Refused as long as an earlier change is under way, or a new role is not known yet.
    let not_yet = |error: &Error| error.is_conflict() || is_role_unknown_yet(error);
    retry_while(job.stop, job.options.settle_within, not_yet, send).await.map(|_| ())
}

/// Deletes the database and waits until it is gone.
///
/// # Errors
/// [`Error::Protected`] if it is protected from deletion and the options do not lift that.
pub(crate) async fn destroy(
    job: &Job<'_>,
    identifier: &str,
    inventory: &Inventory,
    proved: &mut Proved,
) -> Result<Proof, Error> {
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
    let snapshot = final_snapshot(job);
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
            // Under way already, by a call whose reply was lost; or in the middle of a change.
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
    job.clear_the_way();
    if let Some(snapshot) = snapshot {
        remains::snapshot(job, &snapshot, proved).await;
    }
    Ok(proof)
}

async fn unprotect(job: &Job<'_>, identifier: &str) -> Result<(), Error> {
    let call = job.cloud.rds.modify_db_instance().db_instance_identifier(identifier);
    modify(job, call.apply_immediately(true).deletion_protection(false)).await?;
    wait_until(job, job.options.settle_within, || async {
        let database = get(job, identifier).await?;
        let is_done = database.deletion_protection() != Some(true);
        Ok(if is_done { Probe::Ready(()) } else { Probe::Pending("still protected".to_owned()) })
    })
    .await
}

fn final_snapshot(job: &Job<'_>) -> Option<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    match &job.options.fate.snapshot {
        Snapshot::Skip => None,
        Snapshot::Dated => Some(format!("{}-final-{now}", job.stack.database.identifier)),
        Snapshot::Named(name) => Some(name.clone()),
    }
}

async fn wait_until_available(job: &Job<'_>, identifier: &str) -> Result<DatabaseInstance, Error> {
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

async fn wait_until_gone(job: &Job<'_>, identifier: &str) -> Result<Proof, Error> {
    wait_until(job, GONE_WITHIN, || async {
        Ok(match describe(job.cloud, identifier).await? {
            Some(database) => Probe::Pending(database.db_instance_status().unwrap_or_default().to_owned()),
            None => Probe::Ready(proof("rds", "DescribeDBInstances", "DBInstanceNotFound")),
        })
    })
    .await
}

async fn get(job: &Job<'_>, identifier: &str) -> Result<DbInstance, Error> {
    let found = describe(job.cloud, identifier).await?;
    found.ok_or_else(|| Error::Missing { what: format!("database `{identifier}`") })
}

fn is_serving(database: &DatabaseInstance) -> bool {
    matches!(database.status.as_str(), "available" | "backing-up" | "storage-optimization")
        && database.endpoint.is_some()
}

/// Tells whether RDS stays in this status until someone does something.
fn is_broken(status: &str) -> bool {
    matches!(status, "failed" | "storage-full" | "restore-error" | "insufficient-capacity" | "deleting")
        || status.starts_with("incompatible-")
        || status.starts_with("inaccessible-encryption-credentials")
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
    // Those that it is taken out of stay listed as `removing` for a while.
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
