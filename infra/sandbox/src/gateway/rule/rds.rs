//! RDS with real databases: they take a while to start and stop, and their passwords are real.

mod log;
mod refusal;
mod secret;
mod status;
mod subnet;

use std::sync::Arc;

use hyper::StatusCode;
use jiff::{SignedDuration, Timestamp};
use roxmltree::Document;

use self::refusal::refuse;
use self::secret::publish_new_password;
use self::status::overlay_status;
use crate::gateway::Error;
use crate::gateway::database::DatabaseSpec;
use crate::gateway::memory::phases::{Phase, place};
use crate::gateway::password::Password;
use crate::gateway::state::State;
use crate::gateway::upstream::Upstream;
use crate::gateway::upstream::api::RDS;
use crate::gateway::upstream::inventory::{Database, Inventory};
use crate::gateway::wire::reply::Reply;
use crate::gateway::wire::request::{Protocol, Request};
use crate::gateway::wire::xml::{all, text};

/// Answers the operations of databases and subnet groups, with the phase of each database in the answers.
pub(crate) async fn answer(state: &Arc<State>, request: &Request) -> Result<Option<Reply>, Error> {
    let reply = match request.operation.as_deref() {
        Some("CreateDBInstance") => create(state, request).await?,
        Some("ModifyDBInstance") => modify(state, request).await?,
        Some("DeleteDBInstance") => delete(state, request).await?,
        Some("DeleteDBSubnetGroup") => return subnet::group_in_use(&state.upstream, request).await,
        Some("CreateDBSubnetGroup") => return subnet::ensure_aliases(&state.upstream, request).await,
        Some("ModifyDBSubnetGroup") => {
            return match subnet::group_moves(&state.upstream, request).await? {
                Some(refusal) => Ok(Some(refusal)),
                None => subnet::ensure_aliases(&state.upstream, request).await,
            };
        }
        Some("StartDBInstance") => turn(state, request, Phase::Available).await?,
        Some("StopDBInstance") => {
            let restart = Timestamp::now().saturating_add(STOPPED_AT_MOST).unwrap_or(Timestamp::MAX);
            turn(state, request, Phase::Stopped(restart)).await?
        }
        Some("DescribeDBInstances" | "RebootDBInstance") => state.upstream.forward(request).await?,
        _ => return Ok(None),
    };
    // A secret may have got its alias after the answer came.
    let reply = Reply { body: state.upstream.aliases().take_out(&reply.body), ..reply };
    Ok(Some(overlay_status(&state.phases, request.region(), reply)))
}

/// RDS starts a database that was stopped by itself after seven days.
const STOPPED_AT_MOST: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Has moto start or stop a database, and notes the phase.
async fn turn(state: &Arc<State>, request: &Request, phase: Phase) -> Result<Reply, Error> {
    let reply = state.upstream.forward(request).await?;
    if let (StatusCode::OK, Some(identifier)) = (reply.status, request.param("DBInstanceIdentifier")) {
        state.phases.set(&place(request.region(), identifier), phase);
    }
    Ok(reply)
}

async fn create(state: &Arc<State>, request: &Request) -> Result<Reply, Error> {
    let managed = request.is_true("ManageMasterUserPassword");
    if let Some(refusal) = check_password(request, managed) {
        return Ok(refusal);
    }
    let reply = state.upstream.forward(request).await?;
    let Some(database) = described(&reply)? else { return Ok(reply) };
    let password = if managed {
        publish_new_password(&state.upstream, request.region(), &database).await?
    } else {
        Password::new(request.param("MasterUserPassword").unwrap_or_default())
    };
    let spec = DatabaseSpec {
        identifier: place(request.region(), &database.identifier),
        endpoint: database.address.unwrap_or_default(),
        port: database.port.unwrap_or(5432),
        engine_version: request.param("EngineVersion").unwrap_or("17").to_owned(),
        master_user: database.master_user,
        master_password: password,
        database_name: request.param("DBName").map(str::to_owned),
    };
    let (identifier, logs) = (database.identifier, database.logs);
    log::ensure(&state.upstream, request.region(), &identifier, &logs).await?;
    let identifier = place(request.region(), &identifier);
    state.phases.set(&identifier, Phase::Creating);
    let shared = Arc::clone(state);
    state.tasks.spawn(async move {
        let created = shared.options.databases.create(spec).await;
        tokio::time::sleep(shared.options.database_delay).await;
        shared.phases.created(&identifier, created.map_or_else(Phase::Failed, |()| Phase::Available));
    });
    Ok(reply)
}

async fn modify(state: &Arc<State>, request: &Request) -> Result<Reply, Error> {
    let identifier = request.param("DBInstanceIdentifier").unwrap_or_default();
    let place = place(request.region(), identifier);
    if state.phases.get(&place) != Phase::Available {
        return Ok(refuse("InvalidDBInstanceState", "Database instance is not in available state."));
    }
    let managed = request.is_true("ManageMasterUserPassword") || request.is_true("RotateMasterUserPassword");
    let given = request.param("MasterUserPassword");
    if let Some(refusal) = given.and_then(|_| check_password(request, managed)) {
        return Ok(refusal);
    }
    let unmanaged = match request.param("ManageMasterUserPassword") {
        Some("false") => secret::find(&state.upstream, request.region(), identifier).await?,
        _ => None,
    };
    let reply = state.upstream.forward(request).await?;
    let Some(database) = described(&reply)? else { return Ok(reply) };
    log::ensure(&state.upstream, request.region(), identifier, &database.logs).await?;
    if let Some(arn) = unmanaged {
        secret::remove(&state.upstream, request.region(), &arn).await?;
    }
    let password = match given {
        _ if managed => publish_new_password(&state.upstream, request.region(), &database).await?,
        Some(clear) => Password::new(clear),
        None => return Ok(reply),
    };
    let changed = state.options.databases.set_password(&place, &database.master_user, password).await;
    match changed {
        Ok(()) => Ok(reply),
        Err(why) => Ok(Reply::refuse(Protocol::Query, 500, "InternalFailure", &why)),
    }
}

async fn delete(state: &Arc<State>, request: &Request) -> Result<Reply, Error> {
    let identifier = request.param("DBInstanceIdentifier").unwrap_or_default().to_owned();
    let place = place(request.region(), &identifier);
    let databases = Inventory::new(&state.upstream, request.region()).databases().await?;
    let Some(database) = databases.into_iter().find(|database| database.identifier == identifier) else {
        return state.upstream.forward(request).await;
    };
    if let Some(refusal) = refuse_deletion(request, &database, &state.phases.get(&place)) {
        return Ok(refusal);
    }
    if let Some(refusal) = snapshot_exists(&state.upstream, request).await? {
        return Ok(refusal);
    }
    let params = [("DBInstanceIdentifier", identifier.as_str())];
    let xml = state.upstream.query(RDS, request.region(), "DescribeDBInstances", &params).await?;
    state.phases.set(&place, Phase::Deleting);
    let (shared, order, generation) = (Arc::clone(state), request.clone(), state.generation());
    state.tasks.spawn(async move {
        let deleted = shared.options.databases.delete(&place).await;
        tokio::time::sleep(shared.options.database_delay).await;
        if shared.generation() != generation {
            return;
        }
        match deleted {
            // moto keeps it until now, so that what it uses stays in use.
            Ok(()) => {
                // Its last lines create log groups that were deleted meanwhile.
                drop(log::ensure(&shared.upstream, order.region(), &identifier, &database.logs).await);
                drop(shared.upstream.forward(&order).await);
                if let Some(arn) = &database.secret_arn {
                    drop(secret::remove(&shared.upstream, order.region(), arn).await);
                }
                shared.phases.forget(&place);
            }
            Err(why) => shared.phases.set(&place, Phase::Failed(why)),
        }
    });
    Ok(Reply::xml(deletion(&xml)?))
}

fn refuse_deletion(request: &Request, database: &Database, phase: &Phase) -> Option<Reply> {
    let identifier = &database.identifier;
    let snapshot = request.param("FinalDBSnapshotIdentifier");
    let combination = |message: &str| Some(refuse("InvalidParameterCombination", message));
    match (phase, request.is_true("SkipFinalSnapshot"), snapshot) {
        (Phase::Deleting, ..) => {
            let message = format!("Instance {identifier} is already being deleted.");
            Some(refuse("InvalidDBInstanceState", &message))
        }
        (Phase::Creating, ..) => {
            let message = format!("Instance {identifier} is not in available state.");
            Some(refuse("InvalidDBInstanceState", &message))
        }
        _ if database.deletion_protection => combination(
            "Cannot delete protected DB Instance, please disable deletion protection and try again.",
        ),
        (_, false, None) => {
            combination("FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified.")
        }
        (_, true, Some(_)) => {
            combination("FinalDBSnapshotIdentifier can not be specified when SkipFinalSnapshot is true.")
        }
        (Phase::Available | Phase::Stopped(_) | Phase::Failed(_), ..) => None,
    }
}

/// moto would refuse only after the database is gone.
async fn snapshot_exists(upstream: &Upstream, request: &Request) -> Result<Option<Reply>, Error> {
    let Some(name) = request.param("FinalDBSnapshotIdentifier") else { return Ok(None) };
    let xml = upstream.query(RDS, request.region(), "DescribeDBSnapshots", &[]).await?;
    let document = Document::parse(&xml)?;
    let mut snapshots = all(&document, "DBSnapshot").into_iter();
    let exists = snapshots.any(|snapshot| text(snapshot, &["DBSnapshotIdentifier"]) == Some(name));
    let message =
        format!("Cannot create the snapshot because one with the identifier {name} already exists.");
    Ok(exists.then(|| refuse("DBSnapshotAlreadyExists", &message)))
}

/// Returns the answer to a deletion, with the database as it is described now.
fn deletion(described: &str) -> Result<String, Error> {
    let document = Document::parse(described)?;
    let database = all(&document, "DBInstance").first().map_or("", |node| &described[node.range()]);
    Ok(format!(
        "<DeleteDBInstanceResponse xmlns=\"http://rds.amazonaws.com/doc/2014-10-31/\"><DeleteDBInstanceResult>\
         {database}</DeleteDBInstanceResult><ResponseMetadata><RequestId>{}</RequestId></ResponseMetadata>\
         </DeleteDBInstanceResponse>",
        uuid::Uuid::new_v4()
    ))
}

fn check_password(request: &Request, managed: bool) -> Option<Reply> {
    match (request.param("MasterUserPassword"), managed) {
        (Some(_), true) => Some(refuse(
            "InvalidParameterCombination",
            "You can't specify MasterUserPassword for an instance with ManageMasterUserPassword enabled.",
        )),
        (None, false) => Some(refuse(
            "InvalidParameterValue",
            "The parameter MasterUserPassword must be provided and must not be blank.",
        )),
        (Some(clear), false) if !is_valid_password(clear) => Some(refuse(
            "InvalidParameterValue",
            "The parameter MasterUserPassword is not a valid password. Only 8 to 128 printable ASCII characters \
             besides '/', '@', '\"', ' ' may be used.",
        )),
        _ => None,
    }
}

fn is_valid_password(clear: &str) -> bool {
    (8..=128).contains(&clear.len()) && clear.bytes().all(|b| b.is_ascii_graphic() && !b"/@\"".contains(&b))
}

/// Returns the database in an answer of moto; absent when it refused.
fn described(reply: &Reply) -> Result<Option<Database>, Error> {
    if reply.status != StatusCode::OK {
        return Ok(None);
    }
    let xml = reply.text();
    let document = Document::parse(&xml)?;
    Ok(all(&document, "DBInstance").into_iter().find_map(Database::read))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_checked_as_rds_does() {
        assert!(is_valid_password("correct-horse"));
        for bad in ["short", "with space", "with/slash", "with@sign1", "with\"quote", "umlaut-ü-x"] {
            assert!(!is_valid_password(bad), "{bad}");
        }
    }
}
